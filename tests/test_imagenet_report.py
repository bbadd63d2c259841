"""Facts about the page on the ImageNet CGN: its Table 1, its pictures, and the numbers beside it."""

import base64
import csv
import json
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from isolation import ROOT
from PIL import Image
from ruamel.yaml import YAML

from cgn.config import Params, load_params
from cgn.errors import InputError
from cgn.evaluation.imagenet_report import Inputs, chart, protocol_rows, untrained_networks, write_imagenet_report
from cgn.evaluation.imagenet_runs import Timeline, changed_recipe, losses_off, read_runs, read_timeline
from cgn.evaluation.page import fitted_uri
from cgn.evaluation.tables import DASH

CHANGES = ["unchanged", "no_shape", "no_texture", "no_background", "no_reconstruction"]
HELD = "not in our sources"


def params_with(folder: Path, **changes: object) -> Params:
    content = YAML(typ="safe", pure=True).load(ROOT / "params.yaml") | {"imagenet": ["tiny"], **changes}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(content, file)
    return load_params(folder / "params.yaml")


def metrics(mask_mean: float, **more: object) -> dict[str, object]:
    """What measure_imagenet writes."""
    return {"protocol": {"num_images": 2000, "saliency": "u2net"}, "mask_mean": mask_mean, "mask_iou": 0.5, **more}


def scores(composites: float, teacher: float) -> Mapping[str, object]:
    """What it writes of Inception, at two numbers of images."""
    entries = [
        {"num_images": num, "composites": {"mean": composites - less}, "teacher": {"mean": teacher - less}}
        for num, less in ((500, 1.0), (2000, 0.0))
    ]
    return {
        "protocol": {"inception": "a file", "num_splits": 2},
        "inception_score": entries,
        "fid_to_real": None,
        "null_because": "real_images is null",
    }


def write_run(folder: Path, name: str, content: Mapping[str, Any], *, seed: int = 0) -> None:
    """The metrics and the record of one run."""
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics" / f"{name}-{seed}.json").write_text(json.dumps(content))
    record = folder / "records" / name / str(seed)
    (record / "sheets").mkdir(parents=True)
    (record / "scalars.csv").write_text("step,l1,mask_mean,mask_binary_share\n1,0.5,0.5,0.0\n2,0.4,0.4,0.9\n")
    for step, colour in ((1, "red"), (20, "blue")):
        Image.new("RGB", (8, 4), colour).save(record / "sheets" / f"step-{step:06d}.png")


def write_pictures(folder: Path, name: str, pictures: Sequence[tuple[str, str, str, list[int], str]]) -> Path:
    """What illustrate_imagenet leaves of seed 0: files, and an index of (file, kind, part, classes, caption)."""
    sheets = folder / "sheets" / name / "0"
    sheets.mkdir(parents=True)
    for number, (file, *_) in enumerate(pictures):
        if file.endswith(".png"):
            Image.new("RGB", (4, 4), (number, 0, 0)).save(sheets / file)
        else:
            (sheets / file).write_bytes(b"a film")
    names = ("file", "kind", "part", "classes", "caption")
    index = {"pictures": [dict(zip(names, picture, strict=True)) for picture in pictures]}
    (sheets / "index.json").write_text(json.dumps(index))
    return sheets


def report(folder: Path, params: Params, *, untrained: tuple[str, ...] = ()) -> Path:
    (folder / "report").mkdir(exist_ok=True)
    for recipe in params.imagenet_recipes:
        if not (folder / "sheets" / f"{recipe}-{params.imagenet_changes[0]}").exists():
            write_pictures(folder, f"{recipe}-{params.imagenet_changes[0]}", [])
    inputs = Inputs(folder / "metrics", folder / "records", folder / "sheets", untrained, ["barn", "agaric"])
    write_imagenet_report(folder / "report", params=params, scale="tiny", inputs=inputs)
    return folder / "report"


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_table_1_has_the_papers_form_with_its_figures_and_the_reproductions_beside_ours(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_changes=CHANGES, seeds=[0, 1])
    for number, change in enumerate(CHANGES):
        for seed in (0, 1):
            measured = metrics(0.1 * number + 0.1 * seed, image_quality=scores(100.0 + 10 * number + 2 * seed, 200.0))
            write_run(tmp_path, f"authors_code-{change}", measured, seed=seed)
    path = report(tmp_path, params) / "table1-authors_code.csv"
    header, *rows = table(path)
    assert header[1:5] == ["L_shape", "L_text", "L_bg", "L_rec"]
    assert [(row[0], "".join(row[1:5]), *row[5:11]) for row in rows] == [
        ("no shape", "✗✓✓✓", "111.0 ± 1.4", "85.9", "100.8", "0.150 ± 0.071", "0.2", "0.3"),
        ("no texture", "✓✗✓✓", "121.0 ± 1.4", "198.4", "186.5", "0.250 ± 0.071", "0.9", "0.4"),
        ("no background", "✓✓✗✓", "131.0 ± 1.4", "195.6", "200.9", "0.350 ± 0.071", "0.1", "0.1"),
        ("no reconstruction", "✓✓✓✗", "141.0 ± 1.4", "38.4", "19.3", "0.450 ± 0.071", "0.3", "0.4"),
        ("unchanged", "✓✓✓✓", "101.0 ± 1.4", "130.2", "156.1", "0.050 ± 0.071", "0.3", "0.3"),
        ("BigGAN, upper bound", DASH * 4, "200.0 ± 0.0", "202.9", HELD, DASH, DASH, DASH),
    ]
    target = "measure_imagenet@tiny-authors_code-no_shape"
    assert rows[0][11] == f"dvc repro {target}-0 {target}-1"
    text = path.with_suffix(".tex").read_text(encoding="utf-8")
    assert f"% made by {rows[0][11]}\n" in text
    assert r"no texture & $\checkmark$ & $\times$ & $\checkmark$ & $\checkmark$ & 121.0 $\pm$ 1.4 & 198.4 &" in text


@pytest.mark.parametrize("recipe", ["paper", "authors_code"])
def test_every_change_of_params_yaml_is_one_loss_off(recipe: str) -> None:
    params = load_params(ROOT / "params.yaml")
    off = {change: losses_off(changed_recipe(params, recipe, change)) for change in params.imagenet_ablation}
    assert off == {
        "unchanged": (),
        "no_shape": ("shape",),
        "no_texture": ("texture",),
        "no_background": ("background",),
        "no_reconstruction": ("reconstruction",),
    }


def test_a_change_that_the_paper_did_not_make_has_no_figure_of_it(tmp_path: Path) -> None:
    both = {"lambda_background": 0.0, "lambda_binary": 0.0, "lambda_size": 0.0}
    params = params_with(tmp_path, imagenet_changes=["both"], imagenet_ablation={"both": both})
    write_run(tmp_path, "authors_code-both", metrics(0.3))
    _, row, _ = table(report(tmp_path, params) / "table1-authors_code.csv")
    assert row[1:5] == ["✗", "✓", "✗", "✓"]
    assert row[6:8] == row[9:11] == [HELD, HELD]


def test_what_was_not_measured_says_why(tmp_path: Path) -> None:
    none = {"inception_score": None, "fid_to_teacher": None, "null_because": "weights.inception.source is none"}
    write_run(tmp_path, "authors_code-unchanged", metrics(0.3, image_quality=none, top1=None))
    folder = report(tmp_path, params_with(tmp_path))
    why = "not measured: weights.inception.source is none"
    assert table(folder / "table1-authors_code.csv")[1][5] == why
    measures = {row[0]: row[1] for row in table(folder / "measures-authors_code.csv")}
    assert measures["FID to teacher"] == why
    assert measures["top-1"] == "not measured: its metrics do not say why"
    assert measures["mask IoU with saliency"] == "0.500"
    assert measures["made by"] == "dvc repro measure_imagenet@tiny-authors_code-unchanged-0"
    rows = {row["metric"]: row for row in json.loads((folder / "results.json").read_text())}
    assert rows["image_quality.fid_to_teacher"]["value"] is None
    assert rows["image_quality.fid_to_teacher"]["not_measured_because"] == "weights.inception.source is none"
    assert why in (folder / "index.html").read_text(encoding="utf-8")


def test_metrics_without_inception_score_are_reported(tmp_path: Path) -> None:
    write_run(tmp_path, "authors_code-unchanged", metrics(0.3))
    rows = table(report(tmp_path, params_with(tmp_path)) / "table1-authors_code.csv")
    assert [row[5] for row in rows[1:]] == ["not measured: its metrics hold no Inception Score"] * 2


def test_a_number_that_some_seeds_lack_says_of_how_many_it_is(tmp_path: Path) -> None:
    for seed, iou in ((0, 0.25), (1, None)):
        write_run(tmp_path, "authors_code-unchanged", {**metrics(0.3), "mask_iou": iou}, seed=seed)
    folder = report(tmp_path, params_with(tmp_path, seeds=[0, 1]))
    measures = {row[0]: row[1] for row in table(folder / "measures-authors_code.csv")}
    assert measures["mask IoU with saliency"] == "0.250 (1 of 2 seeds)"


def test_every_number_is_a_row_with_the_published_ones_of_table_1(tmp_path: Path) -> None:
    write_run(tmp_path, "authors_code-unchanged", metrics(0.4, image_quality=scores(140.0, 200.0)))
    folder = report(tmp_path, params_with(tmp_path))
    rows = {row["metric"]: row for row in json.loads((folder / "results.json").read_text())}
    shown = {name: (row["value"], row["paper"], row["reproduction"]) for name, row in rows.items()}
    assert shown == {
        "mask_mean": (0.4, 0.3, 0.3),
        "mask_iou": (0.5, None, None),
        "image_quality.inception_score.500 images.composites.mean": (139.0, None, None),
        "image_quality.inception_score.500 images.teacher.mean": (199.0, None, None),
        "image_quality.inception_score.2000 images.composites.mean": (140.0, 130.2, 156.1),
        "image_quality.inception_score.2000 images.teacher.mean": (200.0, None, None),
        "image_quality.fid_to_real": (None, None, None),
    }
    with (folder / "results.csv").open(newline="") as file:
        assert [row["metric"] for row in csv.DictReader(file)] == list(rows)


def test_untrained_networks_are_named_at_the_top_and_nothing_is_said_where_there_are_none(tmp_path: Path) -> None:
    write_run(tmp_path, "authors_code-unchanged", metrics(0.3))
    params = params_with(tmp_path)
    page = (report(tmp_path, params) / "index.html").read_text(encoding="utf-8")
    assert "proves the road" not in page
    page = (report(tmp_path, params, untrained=("saliency",)) / "index.html").read_text(encoding="utf-8")
    assert page.index("proves the road and not the pictures") < page.index("One loss off in turn")
    assert re.search(r"weights\s+are random: the saliency network\.", page)
    (run,) = read_runs(tmp_path / "metrics", params, "tiny")
    judged = run._replace(protocol={("image_quality", "protocol", "inception"): "random"})
    assert untrained_networks(["vgg"], [judged]) == ["VGG16", "inception"]


def test_the_protocol_shows_where_runs_differ(tmp_path: Path) -> None:
    for recipe, count in (("paper", 300), ("authors_code", 20)):
        content = metrics(0.3) | {"protocol": {"trained_for_steps": count, "saliency": "u2net"}}
        write_run(tmp_path, f"{recipe}-unchanged", content)
    params = params_with(tmp_path, imagenet_recipes=["paper", "authors_code"])
    runs = read_runs(tmp_path / "metrics", params, "tiny")
    assert protocol_rows(runs) == [("trained for steps", "300 | 20"), ("saliency", "u2net")]


def test_the_page_loads_nothing_and_shows_every_runs_last_sheet(tmp_path: Path) -> None:
    for recipe in ("paper", "authors_code"):
        for seed in (0, 1):
            write_run(tmp_path, f"{recipe}-unchanged", metrics(0.3), seed=seed)
    params = params_with(tmp_path, imagenet_recipes=["paper", "authors_code"], seeds=[0, 1])
    folder = report(tmp_path, params)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://", page)
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:", "#pape", "#auth", "#note"}
    assert page.count('<img src="data:image/webp;base64,') == 4
    assert page.count("step 20.") == 4
    assert page.count("<polyline") == 2 * 2 * 2  # recipes, seeds, lines
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "results.csv",
        "results.json",
        *(
            f"{name}-{recipe}.{end}"
            for name in ("table1", "measures")
            for recipe in ("paper", "authors_code")
            for end in ("csv", "tex")
        ),
    }


def test_a_timeline_goes_from_the_first_step_to_the_last_and_from_0_to_1() -> None:
    drawn = chart([Timeline([1.0, 2.0, 5.0], [0.0, 0.5, 1.0], [1.0, 1.0, 0.0])])
    mean, decided = drawn["lines"]
    assert mean == {"kind": "mean", "points": "34.0,132.0 104.0,72.0 314.0,12.0"}
    assert decided["points"] == "34.0,12.0 104.0,12.0 314.0,132.0"
    assert (drawn["first"], drawn["last"]) == ("1", "5")


def test_a_long_timeline_keeps_its_ends_and_few_points() -> None:
    steps = [float(step) for step in range(1, 10_002)]
    points = chart([Timeline(steps, [0.5] * len(steps), [0.5] * len(steps))])["lines"][0]["points"].split(" ")
    assert len(points) <= 402
    assert (points[0], points[-1]) == ("34.0,72.0", "314.0,72.0")


def test_a_picture_too_wide_is_made_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (400, 100), "red").save(tmp_path / "wide.png")
    for width, size in ((400, (400, 100)), (200, (200, 50))):
        content = fitted_uri(tmp_path / "wide.png", width=width).partition(",")[2]
        assert Image.open(BytesIO(base64.b64decode(content))).size == size


@pytest.mark.parametrize("content", ["{", "[]", '{"mask_mean": NaN}', '{"a": [{"num_images": 2, "b": Infinity}]}'])
def test_metrics_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    params = params_with(tmp_path)
    command = "`dvc repro measure_imagenet@tiny-authors_code-unchanged-0`"
    with pytest.raises(
        InputError, match=rf"found no .*authors_code-unchanged-0\.json, expected metrics; run {command}"
    ):
        read_runs(tmp_path, params, "tiny")
    (tmp_path / "authors_code-unchanged-0.json").write_text(content)
    with pytest.raises(InputError, match=rf"unchanged-0\.json is no metrics file .*run {command}"):
        read_runs(tmp_path, params, "tiny")


@pytest.mark.parametrize("content", ["", "step,mask_mean,mask_binary_share\n", "step,mask_mean\n1,0.5\n", "step\nx\n"])
def test_a_record_without_masks_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"found no .*scalars\.csv.*`dvc repro train_imagenet`"):
        read_timeline(tmp_path)
    (tmp_path / "scalars.csv").write_text(content)
    with pytest.raises(InputError, match=r"scalars\.csv is no table of steps and masks .*`dvc repro train_imagenet`"):
        read_timeline(tmp_path)


def test_a_record_without_sheets_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "authors_code-unchanged", metrics(0.3))
    for sheet in (tmp_path / "records/authors_code-unchanged/0/sheets").iterdir():
        sheet.unlink()
    with pytest.raises(InputError, match=r"found no .*sheets/step-\*\.png.*`dvc repro train_imagenet`"):
        report(tmp_path, params_with(tmp_path))


def test_pictures_of_the_first_run_stand_in_the_page_by_kind_and_classes(tmp_path: Path) -> None:
    params = params_with(tmp_path)
    write_run(tmp_path, "authors_code-unchanged", metrics(0.3))
    one, other = [425, 949, 974], [814, 945, 888]
    pictures = [
        ("one-mask.png", "layer", "mask", one, "mask: shape of barn"),
        ("one-composite.png", "layer", "composite", one, "composite: shape of barn"),
        ("other-mask.png", "layer", "mask", other, "mask: shape of speedboat"),
        ("film.gif", "walk", "all", one, "the noise of all moves: shape of barn"),
        ("film.mp4", "walk", "all", one, "the noise of all moves: shape of barn"),
    ]
    sheets = write_pictures(tmp_path, "authors_code-unchanged", pictures)
    page = (report(tmp_path, params) / "index.html").read_text(encoding="utf-8")
    plates = re.findall(r'<figure class="plate">(.*?)</figure>', page, re.DOTALL)
    found = [re.search("<figcaption>(.*?)</figcaption>", plate)[1] for plate in plates]  # type: ignore[index]
    assert found == ["shape of barn", "shape of speedboat", "shape of barn"]
    assert [len(re.findall("<img|<video", plate)) for plate in plates] == [2, 1, 1]
    (first, *_) = re.findall('src="data:image/webp;base64,(.*?)"', plates[1])
    with Image.open(BytesIO(base64.b64decode(first))) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (2, 0, 0)
    assert f'src="data:video/mp4;base64,{base64.b64encode(b"a film").decode()}"' in plates[2]
    (sheets / "film.mp4").unlink()
    with pytest.raises(InputError, match=r"found no .*film.mp4, expected a film; run `dvc repro illustrate_imagenet`"):
        report(tmp_path, params)


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"pictures": [{"file": "a.png"}]}', '{"pictures": [3]}'])
def test_a_damaged_index_of_pictures_is_named(tmp_path: Path, content: str) -> None:
    params = params_with(tmp_path)
    write_run(tmp_path, "authors_code-unchanged", metrics(0.3))
    (write_pictures(tmp_path, "authors_code-unchanged", []) / "index.json").write_text(content)
    with pytest.raises(InputError, match=r"index.json is no index of pictures .*run `dvc repro illustrate_imagenet`"):
        report(tmp_path, params)
    (tmp_path / "sheets/authors_code-unchanged/0/index.json").unlink()
    with pytest.raises(InputError, match=r"found no .*index.json, expected an index of pictures"):
        report(tmp_path, params)
