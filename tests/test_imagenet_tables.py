"""Facts about the tables of classifiers of natural images: whose numbers stand where, and why some do not."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_scores import (
    ABSENT,
    ENSEMBLE,
    ENSEMBLE_NAME,
    ensemble,
    gap,
    metrics,
    nine_classes,
    one_head,
    params_with,
    scores,
    write,
    write_default,
)

from cgn.config import Params
from cgn.errors import InputError
from cgn.evaluation import imagenet_classifiers_paper as paper
from cgn.evaluation.imagenet_classifier_runs import Classifier, label, listed, read_runs
from cgn.evaluation.imagenet_tables import TITLES, Table, is_measured, make_table, result_rows, why_absent
from cgn.evaluation.paper import NOT_HELD
from cgn.evaluation.tables import DASH


def table(which: str, folder: Path, params: Params) -> Table:
    return make_table(which, read_runs(folder / "metrics", params, "tiny"), params)


def rows_of(found: Table, *, ours: bool = True) -> dict[tuple[str, str], tuple[str, ...]]:
    """Cells by predictor and classifier, of ours or of published rows."""
    return {(row.predictor, row.label): tuple(map(str, row.cells)) for row in found.rows if bool(row.command) == ours}


def test_cells_are_the_metrics_in_percent_with_their_interval(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    write(tmp_path, "original", one_head(shape_bias=0.2137, top1=0.7613, original=0.956, same=0.862, rand=0.789))
    assert rows_of(table("table3", tmp_path, params)) == {
        ("only", "IN"): ("21.4 [19.4, 23.4]", "76.1 [74.1, 78.1]", "96.1 [94.1, 98.1]")
    }
    (cells,) = rows_of(table("table4", tmp_path, params)).values()
    assert cells == (
        "95.6 [93.6, 97.6]", "86.2 [84.2, 88.2]", "78.9 [76.9, 80.9]", "7.3 [5.3, 9.3]", "40.0 [38.0, 42.0]",
    )  # fmt: skip
    (row,) = [row for row in table("table4", tmp_path, params).rows if row.command]
    assert row.command == "dvc repro score_imagenet@tiny-original-0"


def test_several_seeds_are_a_mean_with_its_deviation_and_say_of_how_many_a_number_is(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[], seeds=[0, 1, 2])
    undefined = {**ABSENT, "only.cue_conflict.shape_bias": "none decided by shape or texture"}
    for seed, top1 in enumerate((0.70, 0.72, 0.74)):
        write(tmp_path, "original", one_head(top1=top1, shape_bias=0.3), seed=seed)
    write(tmp_path, "original", metrics({"only": scores(top1=0.74, shape_bias=None)}, absent=undefined), seed=2)
    (cells,) = rows_of(table("table3", tmp_path, params)).values()
    assert cells == ("30.0 ± 0.0 (2 of 3 seeds)", "72.0 ± 2.0", "92.0 ± 2.0")
    (row,) = [row for row in table("table3", tmp_path, params).rows if row.command]
    assert row.command == "dvc repro " + " ".join(f"score_imagenet@tiny-original-{seed}" for seed in (0, 1, 2))


def test_an_undefined_shape_bias_and_a_set_that_is_not_there_say_why_and_are_no_number(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original", "mixed_rand"], imagenet_mixes=[])
    undefined = {**ABSENT, "only.cue_conflict.shape_bias": "no image was decided by either"}
    write(tmp_path, "original", metrics({"only": scores(shape_bias=None)}, absent=undefined))
    write(tmp_path, "mixed_rand", nine_classes())
    found = table("table3", tmp_path, params)
    ours = rows_of(found)
    assert ours["only", "IN"][0] == "not measured: no image was decided by either"
    assert ours["only", "Mixed-Rand"] == ("not measured: a classifier of nine classes is not asked",) * 3
    assert [cell.text for row in found.rows[:2] for cell in row.cells][:1] == [DASH]
    assert found.reasons()[:2] == ["no image was decided by either", "a classifier of nine classes is not asked"]
    others = rows_of(table("other_sets", tmp_path, params))
    assert others["only", "IN"][1] == f"not measured: {ABSENT['imagenet_a']}"


def test_numbers_without_a_reason_say_so(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    write(tmp_path, "original", metrics({"only": scores(top1=None)}, absent={}))
    (cells,) = rows_of(table("accuracy", tmp_path, params)).values()
    assert set(cells) == {"not measured: its metrics do not say why"}


@pytest.mark.parametrize("which", TITLES)
def test_every_row_is_of_one_predictor_and_predictors_stand_together(tmp_path: Path, which: str) -> None:
    params = params_with(tmp_path)
    write_default(tmp_path)
    found = [row.predictor for row in table(which, tmp_path, params).rows]
    assert [*dict.fromkeys(found)] == sorted(set(found), key=[*("only",), *ENSEMBLE, paper.UNSAID].index)
    assert sum(one != after for one, after in itertools.pairwise(found)) == len(set(found)) - 1
    ours = rows_of(table(which, tmp_path, params))
    assert {predictor for predictor, name in ours if name == "IN + CGN"} == set(ENSEMBLE)


def test_heads_keep_their_own_numbers(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=[])
    biases = dict(zip(ENSEMBLE, (0.3, 0.35, 0.548, 0.167, 0.229), strict=True))
    write(tmp_path, ENSEMBLE_NAME, ensemble({name: {"shape_bias": value} for name, value in biases.items()}))
    ours = rows_of(table("table3", tmp_path, params))
    found = {predictor: cells[0].split()[0] for (predictor, _), cells in ours.items()}
    assert found == {
        "average": "30.0",
        "shape_texture": "35.0",
        "shape": "54.8",
        "texture": "16.7",
        "background": "22.9",
    }


def test_published_rows_have_what_their_sources_print_and_nothing_else(tmp_path: Path) -> None:
    params = params_with(tmp_path)
    write_default(tmp_path)
    bias = rows_of(table("table3", tmp_path, params), ours=False)
    absent = f"not measured: {NOT_HELD}"
    assert bias["only", "SIN"] == ("81.37", "60.18", "82.62")
    by_source = {
        (row.predictor, row.source): tuple(map(str, row.cells))
        for row in table("table3", tmp_path, params).rows
        if not row.command and row.label == "IN + CGN"
    }
    assert by_source["shape", paper.PAPER] == ("54.8", absent, absent)
    assert by_source["average", paper.PAPER] == (absent, "74.0", "91.7")
    assert by_source["background", paper.RERUN] == ("25.7", absent, absent)
    in9 = [row for row in table("table4", tmp_path, params).rows if not row.command]
    found = {(row.label, row.predictor, row.source): tuple(map(str, row.cells)) for row in in9}
    assert found["IN + CGN", "shape_texture", paper.PAPER] == ("94.2", "83.4", "80.1", "3.3", absent)
    assert found["IN", "only", paper.MADRY] == ("95.6", "86.2", "78.9", "7.3", "22.3")
    assert all(row.classes == "" for row in in9)
    text = {row[3] for row in table("table3", tmp_path, params).text_rows() if row[6] == paper.PAPER}
    assert text == {"54.8", "16.7", "22.9", NOT_HELD}, "a published cell is not what we failed to measure"


def test_published_gaps_are_the_differences_of_their_rows() -> None:
    for row in paper.TABLE_4:
        figures = [row.figures.get(place) for place in (paper.MIXED_SAME, paper.MIXED_RAND, paper.GAP)]
        if None not in figures:
            same, rand, printed = map(float, figures)  # type: ignore[arg-type]
            assert abs(abs(same - rand) - printed) < 0.051, row.label


def test_the_released_set_has_a_table_where_it_was_measured_and_a_reason_where_not(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    write(tmp_path, "original", one_head())
    runs = read_runs(tmp_path / "metrics", params, "tiny")
    assert not is_measured("released", runs)
    assert why_absent("released", runs) == [ABSENT["released_in9"]]
    released = {"released_in9": scores(original=0.9, same=0.8, rand=0.7)["in9"], "released_background_gap": gap(0.1)}
    write(tmp_path, "original", one_head(**released))
    runs = read_runs(tmp_path / "metrics", params, "tiny")
    assert is_measured("released", runs)
    found = make_table("released", runs, params)
    assert [str(cell).split()[0] for cell in found.rows[0].cells[:4]] == ["90.0", "80.0", "70.0", "10.0"]
    assert rows_of(found, ours=False)["only", "SIN"][:4] == ("89.2", "73.1", "63.7", "9.4")


def test_every_number_is_a_row_with_the_published_ones_beside_it(tmp_path: Path) -> None:
    params = params_with(tmp_path)
    write_default(tmp_path)
    runs = read_runs(tmp_path / "metrics", params, "tiny")
    rows = result_rows(runs, backbone="resnet50")
    found = {(row["classifier"], row["predictor"], row["metric"]): row for row in rows}
    assert len(found) == len(rows)
    bias = found[ENSEMBLE_NAME, "shape", "cue_conflict.shape_bias"]
    assert (bias["value"], bias["low"], bias["high"], bias["paper"], bias["reproduction"]) == (
        0.25,
        0.23,
        0.27,
        0.548,
        0.491,
    )
    assert bias["command"] == f"dvc repro score_imagenet_with@tiny-{ENSEMBLE_NAME}-0"
    assert found[ENSEMBLE_NAME, "shape", "val.top1"]["paper"] is None, "the paper prints the average's"
    assert found[ENSEMBLE_NAME, "average", "val.top1"]["paper"] == 0.74
    assert found["mixed_rand", "only", "in9.mixed_rand"]["paper"] == 0.713
    missing = found["original", "only", "imagenet_a.top1"]
    assert (missing["value"], missing["not_measured_because"]) == (None, ABSENT["imagenet_a"])
    assert (missing["paper"], missing["reproduction"]) == (None, 0.034), "no row of the paper's: its reproduction's"
    others = result_rows(runs, backbone="squeezenet1_0")
    assert {(row["paper"], row["reproduction"]) for row in others} == {(None, None)}, "theirs is a ResNet-50"
    assert [row["value"] for row in others] == [row["value"] for row in rows]


def test_classifiers_are_those_of_the_lists_and_name_their_generator_where_there_are_several(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["in9"], imagenet_changes=["unchanged", "no_shape"])
    names = [one.name for one in listed(params)]
    assert names == ["in9", "authors_code-unchanged-cgn_ensemble", "authors_code-no_shape-cgn_ensemble"]
    assert [label(one, params) for one in listed(params)] == ["IN-9", "IN + CGN (unchanged)", "IN + CGN (no shape)"]
    assert label(listed(params_with(tmp_path))[-1], params_with(tmp_path)) == "IN + CGN"
    assert Classifier("original").target("tiny", 3) == "score_imagenet@tiny-original-3"


def _put(*place: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_put("predictors", "only", "val", "top1", "value", value=1.5), "val.top1: found 1.5, expected 0 to 1"),
        (_put("predictors", "only", "val", "top1", "low", value=float("nan")), "val.top1: found nan"),
        (_put("predictors", "only", "background_gap", "value", value=-2), "background_gap: found -2, expected -1 to 1"),
        (_put("predictors", "only", "val", "top1", value={"value": 0.5}), "found no 'low'"),
        (_put("predictors", "both", value={}), "found 'both', allowed: only, average"),
        (
            _put("predictors", "only", "cue_conflict", "per_category", "dog", value=[1]),
            r"per_category.dog: found \[1\]",
        ),
        (_put("predictors", "only", "challenge", "num_backgrounds", value=-1), "num_backgrounds: found -1"),
        (_put("heads", value=["shape", "texture", "background"]), "expected only"),
        (_put("classes", value="in9"), "found 'in9', expected 'imagenet'"),
        (lambda content: content.pop("predictors"), "found no 'predictors'"),
    ],
)
def test_what_is_no_metrics_of_this_classifier_is_refused_with_the_command_to_run(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    content = one_head()
    change(content)
    write(tmp_path, "original", content)
    with pytest.raises(InputError, match=rf"original-0\.json.*{said}.*dvc repro score_imagenet@tiny-original-0"):
        read_runs(tmp_path / "metrics", params, "tiny")


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_files_that_are_no_metrics_are_refused(tmp_path: Path, text: str) -> None:
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    write(tmp_path, "original", one_head())
    (tmp_path / "metrics/original-0.json").write_text(text)
    with pytest.raises(InputError, match="dvc repro score_imagenet@tiny-original-0"):
        read_runs(tmp_path / "metrics", params, "tiny")


def test_missing_metrics_name_the_command_that_makes_them(tmp_path: Path) -> None:
    params = params_with(tmp_path)
    write_default(tmp_path)
    (tmp_path / f"metrics/{ENSEMBLE_NAME}-0.json").unlink()
    with pytest.raises(InputError, match=f"dvc repro score_imagenet_with@tiny-{ENSEMBLE_NAME}-0"):
        read_runs(tmp_path / "metrics", params, "tiny")


def test_an_ensemble_without_one_of_its_predictors_is_refused(tmp_path: Path) -> None:
    params = params_with(tmp_path, imagenet_classifiers=[])
    content = ensemble()
    del content["predictors"]["texture"]
    write(tmp_path, ENSEMBLE_NAME, content)
    with pytest.raises(InputError, match="predictors: found average, shape_texture, shape, background, expected"):
        read_runs(tmp_path / "metrics", params, "tiny")
    json.dumps(content, allow_nan=False)
