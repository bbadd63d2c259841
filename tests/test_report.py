"""Facts about the report: its page, its tables and the numbers in them."""

import base64
import csv
import json
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import Project

from cgn.config import load_params
from cgn.errors import InputError
from cgn.evaluation import figures, latex, paper, tables
from cgn.evaluation.measured import read_numbers
from cgn.evaluation.page import data_uri
from stages import report as report_stage

PARAMS = Path(__file__).parents[1] / "params.yaml"
CELLS = ("original", "oracle", "cgn-cf_only", "cgn-original_cf")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Metrics and sheets of the cells that params.yaml names."""
    values = {"original": 0.36, "oracle": 0.98, "cgn-cf_only": 0.9, "cgn-original_cf": 0.95}
    for dataset in ("colored", "double_colored", "wildlife"):
        (tmp_path / "metrics" / dataset).mkdir(parents=True)
        for name, value in values.items():
            row = {"accuracy": value, "accuracy_per_class": [value] * 10, "texture_agreement": 0.1, "ece": 0.02}
            if dataset == "double_colored":
                row |= {"background_agreement": 0.2, "low_contrast": {"accuracy": 0.5, "num_images": 7}}
            cell = {"train": {**row, "accuracy": 1.0}, "test": row}
            (tmp_path / "metrics" / dataset / f"{name}-0.json").write_text(json.dumps(cell))
        write_measured(tmp_path, dataset, CELLS)
        (tmp_path / "sheets" / dataset).mkdir(parents=True)
        for name in ("samples", "counterfactuals", "timeline", "curves"):
            Image.new("RGBA", (8, 8)).save(tmp_path / "sheets" / dataset / f"{name}.png")
        (tmp_path / "sheets" / dataset / "record.json").write_text('{"attempts": 2, "images_seen": 60000}')
    return tmp_path


def write_measured(folder: Path, dataset: str, cells: Sequence[str], seeds: Sequence[int] = (0,)) -> None:
    """What the stages measure and explain leave behind."""
    quality = {"judge_accuracy": {"shape": 0.98}, "effectiveness": {"shape": 0.93}, "agreement": 0.1, "fid": 12.5}
    quality |= {"composition": 0.0, "minimality": {"texture": 0.99}, "mask_iou": 0.8, "mask_iou_per_class": [0.8] * 10}
    looks = {"digit_share": {"integrated_gradients": 0.3, "grad_cam": 0.25, "lime": 0.2}, "variance_by": {"shape": 0.7}}
    metrics = folder / "metrics" / dataset
    (metrics / "quality").mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (metrics / "quality" / f"cgn-{seed}.json").write_text(json.dumps(quality))
    (metrics / "explained.json").write_text(
        json.dumps({"digit_area": 0.15, "classifiers": dict.fromkeys(cells, looks)})
    )
    for name in (
        f"measured/{dataset}/cgn/{seeds[0]}/factors",
        f"explained/{dataset}/saliency",
        f"explained/{dataset}/features",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (8, 8)).save(folder / f"{name}.png")


def make_report(folder: Path, params: Path = PARAMS) -> Path:
    paths = {"params": params, **{name: folder / name for name in ("metrics", "sheets", "measured", "explained")}}
    paths["out"] = folder / "report"
    report_stage.main(["--scale", "demo", *[text for key, path in paths.items() for text in (f"--{key}", str(path))]])
    return folder / "report"


def test_the_report_is_one_small_page_that_loads_nothing(inputs: Path) -> None:
    page = (make_report(inputs) / "index.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= 5_000_000
    assert not re.search(r"https?://", page)
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {
        "data:",
        "#colo",
        "#doub",
        "#wild",
        "#resu",
        "#qual",
        "#look",
        "#clai",
        "#note",
    }
    assert page.count("data:image/webp;base64,") == 3 * (4 + 1 + 2)
    for text in ("Wildlife MNIST", "not in our sources", "2 attempts", "60,000 images", "oracle", "chance"):
        assert text in page


def test_a_picture_of_the_page_has_the_pixels_of_its_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    head, _, body = data_uri(tmp_path / "noise.png").partition(",")
    assert head == "data:image/webp;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(body)))), noise)


def test_results_hold_a_row_per_number_with_the_published_one_beside_it(inputs: Path) -> None:
    folder = make_report(inputs)
    rows = json.loads((folder / "results.json").read_text())
    assert len(rows) == 4 * (2 * 2 * 13 + 2 * 16)  # cells x test sets x numbers
    assert tuple(rows[0]) == tables.RESULT_COLUMNS
    key = {"scale": "demo", "dataset": "colored", "seed": 0, "test_set": "test", "metric": "accuracy"}
    found = {row["experiment"]: row for row in rows if key.items() <= row.items()}
    assert {name: (row["value"], row["paper"], row["reproduction"]) for name, row in found.items()} == {
        "original": (0.36, 0.359, 0.376),
        "oracle": (0.98, None, None),
        "cgn-cf_only": (0.9, None, 0.923),
        "cgn-original_cf": (0.95, 0.951, 0.959),
    }
    assert {row[name] for row in rows if row["metric"] != "accuracy" for name in ("paper", "reproduction")} == {None}
    with (folder / "results.csv").open(newline="") as file:
        assert [row["value"] for row in csv.DictReader(file)] == [str(row["value"]) for row in rows]


def test_the_summary_is_aligned_and_lists_the_oracle_last(inputs: Path) -> None:
    lines = (make_report(inputs) / "summary.txt").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines[2:-1] if line and not line.startswith("-")]
    assert len(table) == 1 + 3 * 4
    start = table[0].index(" train") + len(" train")
    assert {line[start - 6 : start].strip() for line in table[1:]} == {"100.0"}
    assert "Oracle" in table[4]


def test_the_summary_says_whose_the_figures_of_reproductions_are(inputs: Path) -> None:
    lines = (make_report(inputs) / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert f"Reproductions: {paper.WHO}" in lines
    alone = [line for line in lines if "Counterfactuals only" in line]
    shown = [re.findall(r"not in our sources +([\d., AB]+?)  ", line) for line in alone]
    assert shown == [["92.3 B, 43.9 A"], ["86.5 B, 87.9 A"], ["81.4 B"]]


@pytest.mark.parametrize("lost", ["metrics/wildlife/cgn-cf_only-0.json", "sheets/colored/timeline.png"])
def test_a_missing_input_names_the_command(inputs: Path, lost: str) -> None:
    (inputs / lost).unlink()
    with pytest.raises(ValueError, match=rf"found no .*{lost}.*`dvc repro`"):
        make_report(inputs)
    assert not (inputs / "report").exists()


def test_a_damaged_cell_is_named(inputs: Path) -> None:
    (inputs / "metrics" / "colored" / "oracle-0.json").write_text('{"train": {"accuracy": 1.0}}')
    with pytest.raises(ValueError, match=r"oracle-0\.json is no metrics file .*'test'"):
        make_report(inputs)


@pytest.mark.parametrize("accuracy", ['"0.9"', "1.5", "NaN", "null"])
def test_an_accuracy_that_is_none_is_refused(inputs: Path, accuracy: str) -> None:
    (inputs / "metrics" / "colored" / "oracle-0.json").write_text(
        f'{{"train": {{"accuracy": 1.0}}, "test": {{"accuracy": {accuracy}}}}}'
    )
    with pytest.raises(ValueError, match=r"oracle-0\.json is no metrics file .*accuracy"):
        make_report(inputs)


@pytest.mark.parametrize(
    "more",
    ['"texture_agreement": "x"', '"low_contrast": {"accuracy": 7.0, "num_images": 3}', '"accuracy_per_class": [-1]'],
)
def test_any_other_number_that_is_no_share_is_refused(inputs: Path, more: str) -> None:
    (inputs / "metrics" / "colored" / "oracle-0.json").write_text(
        f'{{"train": {{"accuracy": 1.0}}, "test": {{"accuracy": 0.5, {more}}}}}'
    )
    with pytest.raises(
        InputError, match=r"oracle-0\.json is no metrics file .*(texture_agreement|low_contrast|per_class)"
    ):
        make_report(inputs)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"attempts": 1}', '{"attempts": 1, "images_seen": null}'])
def test_a_record_that_is_none_is_refused(inputs: Path, content: str) -> None:
    (inputs / "sheets" / "wildlife" / "record.json").write_text(content)
    with pytest.raises(InputError, match=r"wildlife/record\.json is no record of a generator"):
        make_report(inputs)


@pytest.mark.parametrize("content", [b"step,loss\n0,x\n", b"step,loss\n0,1,2\n", b"\xff\xfe", b"", b"loss\n1\n"])
def test_scalars_that_are_no_numbers_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"scalars\.csv is missing; delete the record"):
        figures.read_scalars(tmp_path)
    (tmp_path / "scalars.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"scalars\.csv.*; delete the record"):
        figures.read_scalars(tmp_path)


def test_half_a_picture_is_refused(inputs: Path) -> None:
    sheet = inputs / "sheets" / "wildlife" / "timeline.png"
    sheet.write_bytes(sheet.read_bytes()[: sheet.stat().st_size // 2])
    with pytest.raises(InputError, match=r"timeline\.png: found no PNG image, or a damaged one"):
        make_report(inputs)


def test_a_picture_that_is_none_is_refused(inputs: Path) -> None:
    (inputs / "sheets" / "wildlife" / "timeline.png").write_text("nope")
    with pytest.raises(ValueError, match=r"wildlife/timeline\.png: found no PNG image"):
        make_report(inputs)


def test_the_papers_test_split_has_a_column_where_it_was_predicted(inputs: Path) -> None:
    for path in (inputs / "metrics").glob("*/*-0.json"):
        cell = json.loads(path.read_text())
        path.write_text(json.dumps({**cell, "paper_test": {**cell["test"], "accuracy": 0.123}}))
    folder = make_report(inputs)
    lines = (folder / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert re.search(r" test  paper's test split  +paper  +reproductions ", lines[2])
    assert sum(" 12.3 " in line for line in lines) == 3 * 4
    assert "paper&#39;s test split</th>" in (folder / "index.html").read_text(encoding="utf-8")


def test_environments_stand_in_a_table_of_their_own_with_its_verdict(inputs: Path) -> None:
    write_measured(inputs, "double_colored", (*CELLS, "cgn-cf_only_texture"))
    for path in (inputs / "metrics" / "double_colored").glob("*-0.json"):
        cell, is_shape = json.loads(path.read_text()), "cf_only" in path.name
        for name, correlation in (("env_90", 0.9), ("env_100", 1.0)):
            cell[name] = {**cell["test"], "accuracy": 0.9 if is_shape else correlation, "num_images": 10_000}
        path.write_text(json.dumps(cell))
        if is_shape:
            cue = {**cell, "env_100": {**cell["env_100"], "accuracy": 1.0}}
            path.with_name("cgn-cf_only_texture-0.json").write_text(json.dumps(cue))
    params = inputs / "params.yaml"
    text = PARAMS.read_text().replace("mixes: [cf_only,", "mixes: [cf_only, cf_only_texture,")
    params.write_text(
        text.replace("datasets_run: [colored, double_colored, wildlife]", "datasets_run: [double_colored]")
    )
    page = (make_report(inputs, params) / "index.html").read_text(encoding="utf-8")
    assert '<a href="#stability">' in page
    assert "The stable signal, so the causal one: shape." in page
    assert page.count("<td>texture</td>") == 1


def test_a_cell_that_no_list_names_is_ignored(inputs: Path) -> None:
    before = (make_report(inputs) / "results.json").read_bytes()
    (inputs / "metrics" / "colored" / "original-7.json").write_text("not read")
    assert (make_report(inputs) / "results.json").read_bytes() == before


def test_seeds_become_mean_and_standard_deviation(inputs: Path) -> None:
    for dataset in ("colored", "double_colored", "wildlife"):
        write_measured(inputs, dataset, CELLS, seeds=(0, 1))
    for path in list((inputs / "metrics").glob("*/*-0.json")):
        cell = json.loads(path.read_text())
        cell["test"]["accuracy"] -= 0.02
        path.with_name(path.name.replace("-0.", "-1.")).write_text(json.dumps(cell))
    params = inputs / "params.yaml"
    params.write_text(PARAMS.read_text().replace("seeds: [0]", "seeds: [0, 1]"))
    folder = make_report(inputs, params)
    assert "35.0 ± 1.4" in (folder / "summary.txt").read_text(encoding="utf-8")  # .36 and .34: sqrt(2) / 100
    assert (folder / "index.html").read_text(encoding="utf-8").count('class="seed"') == 3 * 4 * 2


def test_experiments_are_the_cells_that_the_lists_name() -> None:
    found = tables.experiments(load_params(PARAMS))
    assert {experiment.name for experiment in found} == set(CELLS)
    assert [experiment.real_share for experiment in found] == pytest.approx([1.0, 0.0, 0.05, 1.0])
    assert found[-1].is_oracle


@pytest.mark.parametrize(("number", "shown"), [(0.0, "0.0"), (0.9512, "95.1"), (None, tables.DASH)])
def test_percent_has_one_decimal(number: float | None, shown: str) -> None:
    assert tables.percent(number) == shown


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cgn-0.json"
    with pytest.raises(InputError, match=r"found no .*cgn-0\.json.*`dvc repro measure`"):
        read_numbers(path, what="quality", stage="measure")
    for content in ("{", '{"fid": -1}', '{"a": {"b": [0.1, "x"]}}', '{"fid": NaN}', "[]"):
        path.write_text(content)
        with pytest.raises(InputError, match=r"cgn-0\.json does not hold quality"):
            read_numbers(path, what="quality", stage="measure")


def test_latex_prints_what_stands_in_the_table() -> None:
    text = latex.tabular("a_b", ("method", "50 %"), [("A & B", "1.0 ± 0.1"), ("C", tables.DASH)])
    assert text.splitlines() == [
        "% a_b",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & 50 \% \\",
        r"\midrule",
        r"A \& B & 1.0 $\pm$ 0.1 \\",
        r"C & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_every_result_names_the_command_that_makes_it(finished: Project) -> None:
    with (finished.root / "report" / "results.csv").open(newline="") as file:
        commands = {row["command"] for row in csv.DictReader(file)}
    assert commands == {
        "dvc repro score@demo-double_colored-original-0",
        "dvc repro score_with@demo-double_colored-cgn-original_cf-0",
    }
    names = {path.name for path in (finished.root / "report").iterdir()}
    assert {"accuracy-double_colored.tex", "quality-double_colored.csv", "explained-double_colored.tex"} <= names
    page = (finished.root / "report" / "index.html").read_text(encoding="utf-8")
    for stage in (
        "score_with@demo-double_colored-cgn-original_cf-0",
        "measure@demo-double_colored-cgn-0",
        "explain@demo-double_colored",
        "ablate@demo-double_colored-cgn-no_binary-0",
    ):
        assert f"dvc repro {stage}" in page
