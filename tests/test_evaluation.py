"""Facts about metrics, tables, pictures and the report."""

import base64
import csv
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cgn.config import load_params
from cgn.errors import InputError
from cgn.evaluation import accuracy as metrics
from cgn.evaluation import figures, paper, tables
from cgn.evaluation.report import data_uri
from cgn.mnist import NUM_CLASSES
from cgn.schemas import MANIFEST_SCHEMA, PREDICTIONS_SCHEMA
from stages import report as report_stage
from stages import score as score_stage

PARAMS = Path(__file__).parents[1] / "params.yaml"
CELLS = ("original", "oracle", "cgn-cf_only", "cgn-original_cf")


def predictions(
    predicted: Sequence[int] = (0, 1, 1, 3),
    *,
    shape: Sequence[int] = (0, 0, 1, 1),
    texture: Sequence[int] = (5, 1, 5, 3),
    background: Sequence[int | None] = (0, 1, 1, 9),
    low_contrast: Sequence[bool] = (False, True, False, False),
    confidence: Sequence[float] = (0.5, 0.5, 0.5, 0.5),
    test_set: Sequence[str] = ("train", "train", "test", "test"),
) -> pa.Table:
    n = len(predicted)
    columns = {
        "key": [str(i) for i in range(n)],
        "test_set": list(test_set)[:n],
        "head": ["shape"] * n,
        "seed": [0] * n,
        "shape": list(shape)[:n],
        "texture": list(texture)[:n],
        "background": list(background)[:n],
        "low_contrast": list(low_contrast)[:n],
        "predicted": list(predicted),
        "confidence": list(confidence)[:n],
    }
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)


# ---- metrics


def test_accuracies_count_what_was_predicted() -> None:
    table = predictions((0, 1, 1, 3), shape=(0, 0, 0, 1))
    assert metrics.accuracy(table) == 0.25
    assert metrics.accuracy_per_class(table) == [1 / 3, 0.0] + [None] * 8
    assert metrics.worst_class_accuracy(table) == 0.0
    assert metrics.texture_agreement(table) == 0.5
    assert metrics.background_agreement(table) == 0.75


def test_low_contrast_and_distinct_split_the_images() -> None:
    assert metrics.low_contrast(predictions()) == {"accuracy": 0.0, "num_images": 1}
    assert metrics.distinct(predictions()) == {"accuracy": 2 / 3, "num_images": 3}


@pytest.mark.parametrize(
    ("confidence", "error"),
    [
        ((0.5, 0.5, 0.5, 0.5), 0.0),  # one bin, half of it right
        ((1.0, 1.0, 1.0, 1.0), 0.5),
        ((1.0, 0.0, 1.0, 0.0), 0.0),  # sure where right, none where wrong; 0 belongs to the first bin
        ((0.75, 0.25, 0.75, 0.25), 0.25),
    ],
)
def test_calibration_error_is_the_gap_of_accuracy_and_confidence(confidence: Sequence[float], error: float) -> None:
    assert metrics.calibration_error(predictions(confidence=confidence)) == pytest.approx(error, abs=1e-7)


def test_calibration_error_refuses_what_is_no_probability() -> None:
    for value in (1.5, float("nan")):
        with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
            metrics.calibration_error(predictions(confidence=(value, 0.5, 0.5, 0.5)))


@pytest.mark.parametrize("name", [name for name in metrics.METRICS if name != "num_images"])
def test_no_metric_is_defined_on_an_empty_table(name: str) -> None:
    with pytest.raises(ValueError, match=r"empty table .* `dvc repro predict`"):
        metrics.METRICS[name](predictions().slice(0, 0))


def test_background_agreement_is_undefined_without_backgrounds() -> None:
    with pytest.raises(ValueError, match="4 of 4 images without a background class"):
        metrics.background_agreement(predictions(background=(None,) * 4))


def test_score_leaves_out_what_a_data_set_does_not_define() -> None:
    plain = metrics.score(predictions(background=(None,) * 4, low_contrast=(False,) * 4))
    assert set(metrics.METRICS) - set(plain["test"]) == {"background_agreement", "low_contrast", "distinct"}
    mixed = metrics.score(predictions(low_contrast=(False, True, True, True)))
    assert set(mixed["train"]) == set(metrics.METRICS)
    assert set(metrics.METRICS) - set(mixed["test"]) == {"distinct"}


def test_score_needs_train_and_test() -> None:
    with pytest.raises(ValueError, match=r"found predictions for train, .* test is missing"):
        metrics.score(predictions(test_set=("train",) * 4))


def test_scoring_does_not_wait_for_torch() -> None:
    code = "import sys, stages.score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PARAMS.parent, check=False).returncode == 0


def test_the_score_stage_writes_the_metrics_of_every_test_set(tmp_path: Path) -> None:
    pq.write_table(predictions(), tmp_path / "cell.parquet")
    score_stage.main(["--predictions", str(tmp_path / "cell.parquet"), "--out", str(tmp_path / "cell.json")])
    scores = json.loads((tmp_path / "cell.json").read_text())
    assert [scores[name]["accuracy"] for name in ("train", "test")] == [0.5, 0.5]
    assert scores["train"]["accuracy_per_class"] == [0.5] + [None] * 9


# ---- the paper's figures


def test_published_figures_are_fractions_and_absent_where_not_held() -> None:
    assert paper.published("original_cf", "fast", "wildlife") == (0.992, 0.857, paper.QUOTED)
    assert paper.published("cf_only", "authors_code", "colored") == (0.994, 0.923, paper.RERUN)
    assert paper.published("oracle", None, "colored") is None
    assert paper.published("original_cf", "gan", "colored") == (0.998, 0.407, paper.QUOTED)
    assert paper.published("original_cf", "cut_paste", "colored") is None


# ---- pictures


def shard_folder(folder: Path, splits: Sequence[str], *, per_class: int) -> pa.Table:
    """A shard set of flat images whose red value is ten times the class."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for split in splits:
        shard = f"x-{split}-000000.tar"
        with tarfile.open(folder / shard, "w") as tar:
            for index in range(NUM_CLASSES * per_class):
                number = index % NUM_CLASSES
                png = BytesIO()
                Image.new("RGB", (32, 32), (10 * number, 0, 0)).save(png, "PNG")
                info = tarfile.TarInfo(f"x-{split}-{index:08d}.png")
                info.size = len(png.getvalue())
                offset = tar.offset + 512
                tar.addfile(info, BytesIO(png.getvalue()))
                rows.append(
                    {
                        "key": info.name[:-4],
                        "split": split,
                        "shard": shard,
                        "offset": offset,
                        "size": info.size,
                        "label": number,
                        "shape": number,
                        "texture": (number + 1) % 10,
                        "background": None,
                        "low_contrast": False,
                        "seed": 0,
                        "index": index,
                    }
                )
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


def record_folder(folder: Path) -> Path:
    (folder / "sheets").mkdir(parents=True)
    for step in (0, 100, 200):
        sheet = np.zeros((4 * 34 + 2, 10 * 34 + 2, 3), np.uint8)
        for row in range(4):
            sheet[2 + 34 * row : 34 * (row + 1), :] = 50 * (row + 1)
        Image.fromarray(sheet).save(folder / "sheets" / f"step-{step:06d}.png")
    header = "step,loss_d,loss_g,mask_mean,binary_share,border_mean\n"
    text = header + "0,3,2,.5,.1,.2\n50,2,1,.3,.9,.1\n"
    (folder / "scalars.csv").write_text(text)
    (folder / "record.json").write_text(json.dumps({"attempts": 2, "images_seen": 60000}))
    return folder


def test_a_tile_is_read_at_its_offset(tmp_path: Path) -> None:
    manifest = shard_folder(tmp_path / "real", ["train"], per_class=2)
    rows = figures.pick(manifest, split="train", per_class=2)
    assert [[figures.read_tile(tmp_path / "real", row).getpixel((0, 0)) for row in line] for line in rows] == [
        [(10 * number, 0, 0) for number in range(10)]
    ] * 2


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    manifest = shard_folder(tmp_path / "real", ["train"], per_class=1)
    with pytest.raises(ValueError, match=r"found 1 images of class 0 in split 'train', expected 2"):
        figures.pick(manifest, split="train", per_class=2)


def test_factors_without_background_show_a_dot() -> None:
    assert figures.factors_text({"shape": 7, "texture": 3, "background": 5}) == "7 / 3 / 5"
    assert figures.factors_text({"shape": 7, "texture": 3, "background": None}) == "7 / 3 / ·"


def test_record_sheets_are_cut_into_rows(tmp_path: Path) -> None:
    sheet = Image.open(record_folder(tmp_path / "record") / "sheets" / "step-000100.png")
    for row, name in enumerate(figures.SHEET_ROWS):
        tiles = figures.sheet_row(sheet, name)
        assert [tile.getextrema() for tile in tiles] == [((50 * (row + 1),) * 2,) * 3] * 10
    with pytest.raises(ValueError, match=r"found a record sheet of \(64, 64\) pixels, expected \(342, 138\)"):
        figures.sheet_row(sheet.resize((64, 64)), "mask")


def test_curves_are_read_by_column(tmp_path: Path) -> None:
    scalars = figures.read_scalars(record_folder(tmp_path / "record"))
    assert scalars["step"] == [0, 50]
    assert scalars["loss_d"] == [3, 2]


def test_an_empty_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scalars.csv").write_text("step,loss\n")
    with pytest.raises(ValueError, match="no rows under a column step"):
        figures.read_scalars(tmp_path)
    with pytest.raises(ValueError, match=r"found no sheets/step-\*\.png"):
        figures.draw_timeline(tmp_path)


def test_the_illustrate_stage_writes_the_same_bytes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages import illustrate as stage  # noqa: PLC0415

    manifests = {
        tmp_path / "real": shard_folder(tmp_path / "real", ["train", "unbiased"], per_class=2),
        tmp_path / "generated": shard_folder(tmp_path / "generated", ["generated"], per_class=3),
    }
    monkeypatch.setattr(stage, "read_manifest", manifests.__getitem__)
    monkeypatch.setattr(stage, "name_of", lambda _: "colored")
    record = record_folder(tmp_path / "record")
    for name in ("one", "two"):
        paths = {
            "real": tmp_path / "real",
            "generated": tmp_path / "generated",
            "record": record,
            "out": tmp_path / name,
        }
        stage.main(["--dataset", "colored", *[text for key, path in paths.items() for text in (f"--{key}", str(path))]])
    written = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(written) == {"samples.png", "counterfactuals.png", "timeline.png", "curves.png", "record.json"}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}


# ---- the report


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Metrics and sheets of the cells that params.yaml names."""
    values = {"original": 0.36, "oracle": 0.98, "cgn-cf_only": 0.9, "cgn-original_cf": 0.95}
    for dataset in ("colored", "double_colored", "wildlife"):
        (tmp_path / "metrics" / dataset).mkdir(parents=True)
        for name, value in values.items():
            row = {"accuracy": value, "accuracy_per_class": [value] * 9 + [None], "texture_agreement": 0.1, "ece": 0.02}
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
    assert len(rows) == 4 * (2 * 2 * 12 + 2 * 15)  # cells x test sets x numbers
    assert tuple(rows[0]) == tables.RESULT_COLUMNS
    key = {"scale": "demo", "dataset": "colored", "seed": 0, "test_set": "test", "metric": "accuracy"}
    found = {row["experiment"]: row for row in rows if key.items() <= row.items()}
    assert {name: (row["value"], row["paper"], row["reproduction"]) for name, row in found.items()} == {
        "original": (0.36, 0.359, None),
        "oracle": (0.98, None, None),
        "cgn-cf_only": (0.9, None, 0.923),
        "cgn-original_cf": (0.95, 0.951, None),
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


def test_the_summary_marks_published_figures_that_are_not_the_papers_own(inputs: Path) -> None:
    lines = (make_report(inputs) / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert "* Bagad et al. 2022, their own run; the paper's own is not in our sources" in lines
    assert [line.split("Counterfactuals only")[1].count("*") for line in lines if "Counterfactuals only" in line] == [
        1
    ] * 3
    assert sum(line.count("*") for line in lines) == 3 + 1


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
    assert re.search(r" test  paper's test split  +published test ", lines[2])
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
