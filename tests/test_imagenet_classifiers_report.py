"""Facts about the page on classifiers of natural images: what it says first, what it loads, and what stands beside it."""

import base64
import csv
import json
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from made_scores import (
    ABSENT,
    DEFAULT_HEADS,
    ENSEMBLE_NAME,
    HEADS,
    ensemble,
    metrics,
    one_head,
    params_with,
    scores,
    write,
    write_default,
    write_explained,
)
from PIL import Image
from torch import nn

from cgn.checkpoints import save_checkpoint
from cgn.config import Params
from cgn.errors import InputError
from cgn.evaluation.imagenet_classifier_runs import read_runs
from cgn.evaluation.imagenet_classifiers_report import (
    Inputs,
    category_bars,
    gap_groups,
    protocol_rows,
    shown_table,
    write_imagenet_classifiers_report,
)
from cgn.evaluation.imagenet_explained import MAX_CASES, cases, looks, read_explained, shares_table
from cgn.evaluation.imagenet_tables import TITLES, make_table
from cgn.evaluation.tables import DASH, Estimate
from stages import report_imagenet_classifiers

WARNING = "These numbers prove the road, not the method."


def report(
    folder: Path, params: Params, *, heads: Mapping[str, tuple[str, ...]] = DEFAULT_HEADS, is_random: bool = False
) -> Path:
    (folder / "report").mkdir(exist_ok=True)
    explained = write_explained(folder, heads)
    inputs = Inputs(folder / "metrics", explained, "resnet50", "random" if is_random else "a file", is_random)
    write_imagenet_classifiers_report(folder / "report", params=params, scale="tiny", inputs=inputs)
    return folder / "report"


def page_of(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def default(tmp_path: Path) -> Path:
    write_default(tmp_path)
    return report(tmp_path, params_with(tmp_path))


def test_an_untrained_backbone_is_said_in_words_before_any_number(tmp_path: Path) -> None:
    write_default(tmp_path)
    params = params_with(tmp_path)
    page = page_of(report(tmp_path, params, is_random=True))
    assert page.index(WARNING) < page.index("<table")
    assert WARNING not in page_of(report(tmp_path, params))


def test_the_page_loads_nothing_and_its_pictures_are_inside(default: Path) -> None:
    page = page_of(default)
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "http" not in re.sub(r"data:[^\"]*", "", page)
    assert "<script" not in page
    pictures = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    heads = sum(map(len, DEFAULT_HEADS.values()))
    assert len(pictures) == 2 * 2 * (1 + heads), "two images of two variants: each, and where every head looks"
    sizes = {Image.open(BytesIO(base64.b64decode(one))).size for one in pictures}
    assert sizes == {(8, 8), (24, 8)}


def test_tables_stand_beside_the_page_as_csv_and_latex_with_their_commands(default: Path) -> None:
    made = {*TITLES, "shares"} - {"released"}
    assert {path.stem for path in default.glob("*.csv")} == made | {"results"}
    assert {path.stem for path in default.glob("*.tex")} == made
    rows = rows_of(default / "table4.csv")
    (ours,) = [row for row in rows if row["classifier"] == "IN" and row["source"] == "measured here"]
    assert (ours["predictor"], ours["classes"], ours["IN-9"]) == ("one head", "1,000", "95.0 [93.0, 97.0]")
    assert ours["made by"] == "dvc repro score_imagenet@tiny-original-0"
    (paper,) = [row for row in rows if row["predictor"] == "shape + texture" and row["BG-Gap"] == "3.3"]
    assert (paper["challenge"], paper["made by"]) == ("not in our sources", "")
    text = (default / "table3.tex").read_text(encoding="utf-8")
    assert "% made by dvc repro score_imagenet@tiny-original-0\n" in text
    assert "% (a) a classifier of nine classes is not asked\n" in text
    assert r"one head & Mixed-Rand & 9 & -- (a) & -- (a) & -- (a) & measured here \\" in text
    assert text.count(r"\begin{tabular}") == 1


def test_every_number_is_in_the_long_tables_and_on_the_page_with_its_command(default: Path) -> None:
    rows = json.loads((default / "results.json").read_text())
    assert [row["metric"] for row in rows] == [row["metric"] for row in rows_of(default / "results.csv")]
    page = page_of(default)
    for row in rows:
        assert (row["value"] is None) == bool(row["not_measured_because"])
        assert row["command"].removeprefix("dvc repro ") in page


def test_what_was_explained_is_copied_beside_the_page(tmp_path: Path, default: Path) -> None:
    copy = json.loads((default / "explained.json").read_text())
    assert copy == json.loads((tmp_path / "explained/explained.json").read_text())


def test_two_runs_write_the_same_bytes(tmp_path: Path, default: Path) -> None:
    before = {path.name: path.read_bytes() for path in default.iterdir()}
    report(tmp_path, params_with(tmp_path))
    assert {path.name: path.read_bytes() for path in default.iterdir()} == before


def test_reasons_are_spelled_out_once_under_their_table_and_lettered_in_its_cells(tmp_path: Path) -> None:
    params = params_with(tmp_path)
    write_default(tmp_path)
    shown = shown_table(make_table("table3", read_runs(tmp_path / "metrics", params, "tiny"), params))
    assert shown["notes"] == [("a", "a classifier of nine classes is not asked"), ("b", "not in our sources")]
    by_label = {row["label"]: row for row in shown["groups"][0]["rows"] if row["command"]}
    assert by_label["Mixed-Rand"]["cells"] == [(DASH, "", "a")] * 3
    page = page_of(report(tmp_path, params))
    assert page.count("<span><sup>a</sup> a classifier of nine classes is not asked</span>") == 2, (
        "tables 3 and accuracy"
    )
    assert f"not measured: {ABSENT['released_in9']}." in page


def test_reasons_from_outside_cannot_break_the_page(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    absent = {**ABSENT, "stylized": "<b>none</b> & 50 %"}
    write(tmp_path, "original", metrics({"only": scores()}, absent=absent))
    folder = report(tmp_path, params, heads={"original": ("only",)})
    assert "&lt;b&gt;none&lt;/b&gt; &amp; 50 %" in page_of(folder)
    assert "% (a) <b>none</b> & 50 %\n" in (folder / "other_sets.tex").read_text(encoding="utf-8")


# ---- pictures of numbers


def test_bars_are_the_decisions_of_all_seeds_by_category(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], seeds=[0, 1])
    for seed, bias in ((0, 0.2), (1, 0.4)):
        write(tmp_path, "original", one_head(shape_bias=bias), seed=seed)
        write(tmp_path, ENSEMBLE_NAME, ensemble(shape_bias=bias), seed=seed)
    found = category_bars(read_runs(tmp_path / "metrics", params, "tiny"), params)
    assert [one["title"] for one in found][:2] == ["IN, one head", "IN + CGN, average of three heads"]
    assert len(found) == 6
    first = found[0]["rows"][0]
    assert (first["counts"], float(first["shape"]) / float(first["texture"])) == (
        "60 : 140",
        pytest.approx(3 / 7, rel=0.01),
    )
    assert found[0]["rows"][1]["shape"] == "0.0"
    assert found[0]["rows"][1]["texture"] == "0", "no decision is no bar"
    assert (found[0]["bias"], found[0]["decided"], found[0]["images"]) == ("30.0", "200", "2,560")


def test_a_network_that_decides_for_neither_has_an_undefined_bias_in_its_bars(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    undefined = {**ABSENT, "only.cue_conflict.shape_bias": "none decided"}
    write(tmp_path, "original", metrics({"only": scores(shape_bias=None)}, absent=undefined))
    (panel,) = category_bars(read_runs(tmp_path / "metrics", params, "tiny"), params)
    assert (panel["bias"], panel["decided"]) == ("undefined", "0")


def test_the_chart_of_gaps_has_every_row_with_both_ends_in_its_predictors_group(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"])
    write(tmp_path, "original", one_head(same=0.9, rand=0.5))
    write(tmp_path, ENSEMBLE_NAME, ensemble())
    groups = {
        group["name"]: group["rows"] for group in gap_groups(read_runs(tmp_path / "metrics", params, "tiny"), params)
    }
    ours, *published = groups["one head"]
    assert (ours["label"], ours["source"], ours["gap"]) == ("IN", "", "+40.0")
    assert float(ours["same"]) > float(ours["rand"])
    assert ("IN", "Xiao et al.", "+7.3") in [(row["label"], row["source"], row["gap"]) for row in published]
    assert [row["gap"] for row in groups["shape + texture"]] == ["+5.0", "+3.3", "+4.9"]
    places = [row["y"] for rows in groups.values() for row in rows]
    assert len(set(places)) == len(places)


# ---- what heads look at


def test_heads_are_shown_where_they_disagree_with_what_they_say(tmp_path: Path) -> None:
    write_default(tmp_path)
    params = params_with(tmp_path)
    explained = read_explained(write_explained(tmp_path, DEFAULT_HEADS, num_images=9), params, scale="tiny")
    found = cases(explained)
    assert [case.variant for case in found] == ["original"] * MAX_CASES + ["mixed_rand"] * MAX_CASES
    first, mixed = found[0], found[MAX_CASES]
    assert (first.label, first.background, mixed.background, first.object_area) == ("fish", None, "dog", "25.0")
    assert [one.head for one in first.ensembles] == list(HEADS)
    assert [one.classifier for one in first.others] == ["IN, as published", "IN", "Mixed-Rand"]
    assert first.ensembles[0].answers == [("tench", "75.0"), ("goldfish", "12.5")]
    assert first.ensembles[0].shares == [("Grad-CAM", "50.0"), ("occlusion", DASH), ("LIME", "12.5")]
    assert [case.disagree for case in found[:3]] == [["IN + CGN"], ["IN + CGN"], []]
    page = page_of(report(tmp_path, params))
    assert "Heads disagree: IN + CGN." in page
    assert "before the background of an image of <b>dog</b>" in page
    assert page.count('<li class="right"><span>tench</span>') == page.count('<li class="wrong"><span>tench</span>') > 0


def test_shares_stand_beside_what_an_even_spread_would_have(tmp_path: Path) -> None:
    params = params_with(tmp_path)
    shares = {"shape": (0.7, 0.04), "background": (0.3, 0.02)}
    explained = read_explained(write_explained(tmp_path, DEFAULT_HEADS, shares=shares), params, scale="tiny")
    rows = {(row.label, row.predictor): [*map(str, row.cells)] for row in shares_table(explained).rows}
    assert rows["an even spread", ""] == ["25.0"] * 6
    few = "not measured: fewer than two images have any attribution"
    assert rows["IN + CGN", "shape"] == ["70.0 ± 4.0", few, "12.5 ± 1.0"] * 2
    assert looks(explained)[ENSEMBLE_NAME]["shape"] == Estimate(0.7, 0.04)
    assert {row.command for row in shares_table(explained).rows} == {"dvc repro explain_imagenet@tiny"}


def test_a_page_without_an_ensemble_shows_classifiers_of_one_head(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    write(tmp_path, "original", one_head())
    page = page_of(report(tmp_path, params, heads={"original": ("only",)}))
    assert "<summary>Classifiers of one head" not in page
    assert page.count("<b>one head</b> of IN</p>") == 4
    assert "No heads disagree." in page


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "explained.json").unlink(), "found no .*explained.json"),
        (lambda folder: (folder / "explained.json").write_text("{}"), "found no 'classifiers'"),
        (lambda folder: (folder / "explained.json").write_text("3"), "does not hold where classifiers look"),
        (lambda folder: (folder / "original/0.png").unlink(), "original/0.png"),
    ],
)
def test_explanations_that_are_missing_or_damaged_are_refused(tmp_path: Path, spoil: object, said: str) -> None:
    write_default(tmp_path)
    folder = write_explained(tmp_path, DEFAULT_HEADS)
    spoil(folder)  # type: ignore[operator]
    (tmp_path / "report").mkdir()
    inputs = Inputs(tmp_path / "metrics", folder, "resnet50", "a file", is_random=False)
    with pytest.raises(InputError, match=rf"{said}.*dvc repro"):
        write_imagenet_classifiers_report(
            tmp_path / "report", params=params_with(tmp_path), scale="tiny", inputs=inputs
        )


def test_explanations_of_fewer_classifiers_than_the_lists_name_are_refused(tmp_path: Path) -> None:
    folder = write_explained(tmp_path, {"original": ("only",)})
    with pytest.raises(InputError, match=r"found no published, expected every.*dvc repro explain_imagenet@tiny"):
        read_explained(folder, params_with(tmp_path), scale="tiny")


# ---- the rest


def test_the_protocol_shows_where_classifiers_differ(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["published", "original"], imagenet_mixes=[])
    write(tmp_path, "published", one_head())
    other = one_head()
    other["protocol"] = {"num_images": {"val": 500}, "challenge": "every background"}
    write(tmp_path, "original", other)
    runs = read_runs(tmp_path / "metrics", params, "tiny")
    rows = protocol_rows([run for of_one in runs.values() for run in of_one])
    assert rows == [("num images, val", "1,000 | 500"), ("challenge", "every background")]


@pytest.mark.parametrize("source", ["random", "a file"])
def test_the_stage_reads_the_backbones_source_and_writes_a_whole_folder(tmp_path: Path, source: str) -> None:
    write_default(tmp_path)
    params_with(tmp_path)
    explained = write_explained(tmp_path, DEFAULT_HEADS)
    backbone = {"network": "backbone", "source": source, "sha256": "", "name": "squeezenet1_1", "weights": "DEFAULT"}
    weights = tmp_path / "backbone"
    save_checkpoint(
        weights / "backbone.safetensors", nn.Linear(1, 1).state_dict(), kind="weights", config=backbone, trained_on=""
    )
    folders = {"metrics": tmp_path / "metrics", "explained": explained, "backbone": weights, "out": tmp_path / "out"}
    options = ["--params", str(tmp_path / "params.yaml"), "--scale", "tiny"]
    options += [word for name, path in folders.items() for word in (f"--{name}", str(path))]
    report_imagenet_classifiers.main(options)
    page = page_of(tmp_path / "out")
    assert (WARNING in page) == (source == "random")
    assert "squeezenet1_1" in page
    (tmp_path / "metrics/original-0.json").unlink()
    with pytest.raises(InputError, match="score_imagenet@tiny-original-0"):
        report_imagenet_classifiers.main(options)
    assert page_of(tmp_path / "out") == page, "what was there stays"
