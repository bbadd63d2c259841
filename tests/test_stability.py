"""Facts about the table that tells the causal signal from its cues."""

from typing import Any

import pytest
from isolation import ROOT

from cgn.config import load_params
from cgn.evaluation import stability, tables

ENVIRONMENTS = {"env_90": 0.9, "env_95": 0.95, "env_100": 1.0}
PARAMS = load_params(ROOT / "params.yaml").model_copy(
    update={"classifiers": ["original"], "mixes": ["cf_only", "cf_only_texture", "cf_only_background"]}
)
FOUND = tables.experiments(PARAMS)
# What each classifier says: the class itself nine times in ten, or a cue.
SHAPE = {"env_90": 0.91, "env_95": 0.9, "env_100": 0.92, "test": 0.9}
CUE = {**ENVIRONMENTS, "test": 0.1}


def rows(**accuracies: dict[str, float]) -> list[dict[str, Any]]:
    told = {"original": CUE, "cgn-cf_only": SHAPE, "cgn-cf_only_texture": CUE, "cgn-cf_only_background": CUE}
    cells = {
        ("double_colored", name, 0): {
            test_set: {"accuracy": value, "num_images": 10_000} for test_set, value in values.items()
        }
        for name, values in {**told, **accuracies}.items()
    }
    return tables.result_rows("demo", cells, FOUND)


def test_the_classifier_that_is_as_good_everywhere_names_the_causal_signal() -> None:
    table = stability.stability(rows(), "double_colored", FOUND)
    assert [(row.factor, row.judged) for row in table] == [
        ("shape", False),
        ("shape", True),
        ("texture", True),
        ("background", True),
    ]
    assert [row.span for row in table] == pytest.approx([0.1, 0.02, 0.1, 0.1])
    assert str(stability.verdict(table)) == (
        "Accuracy moves over the environments by points: shape 2.0, texture 10.0, background 10.0. "
        "The stable signal, so the causal one: shape."
    )


def verdict_of(**accuracies: dict[str, float]) -> stability.Verdict:
    verdict = stability.verdict(stability.stability(rows(**accuracies), "double_colored", FOUND))
    assert verdict is not None
    return verdict


def test_the_verdict_follows_the_numbers_and_not_the_names() -> None:
    assert verdict_of(**{"cgn-cf_only": CUE, "cgn-cf_only_background": SHAPE}).causal == "background"


def test_without_a_difference_there_is_no_verdict() -> None:
    even = dict.fromkeys(("cgn-cf_only", "cgn-cf_only_texture", "cgn-cf_only_background"), CUE)
    verdict = verdict_of(**even)
    assert verdict.causal is None
    assert str(verdict).endswith("No one signal is the most stable.")


def test_a_difference_within_the_error_of_the_images_decides_nothing() -> None:
    near = {name: value + (0.01 if name == "env_100" else 0) for name, value in SHAPE.items()}
    assert verdict_of(**{"cgn-cf_only_texture": near}).causal is None


def test_seeds_that_move_over_environments_each_in_its_own_way_are_not_stable() -> None:
    cells = {}
    for seed, move in enumerate((-0.04, 0.0, 0.04)):
        told = {
            "cgn-cf_only": dict.fromkeys(SHAPE, 0.9) | {"env_100": 0.9 + move},
            "cgn-cf_only_texture": dict.fromkeys(SHAPE, 0.9) | {"env_100": 0.98},
        }
        for name, values in told.items():
            cells["double_colored", name, seed] = {
                test_set: {"accuracy": value, "num_images": 10_000} for test_set, value in values.items()
            }
    table = stability.stability(tables.result_rows("demo", cells, FOUND), "double_colored", FOUND)
    shape, texture = table
    assert shape.spans.values == pytest.approx((0.04, 0, 0.04))
    assert shape.span == pytest.approx(0.08 / 3)
    assert shape.variance == pytest.approx(2 * 0.9 * 0.1 / 10_000, rel=0.02)
    assert texture.variance < shape.variance
    verdict = stability.verdict(table)
    assert verdict is not None
    assert texture.span - shape.span == pytest.approx(0.08 - 0.08 / 3)
    assert verdict.causal == "shape"  # 5.3 points, against 4.0 by Student's t
    assert stability.cells(table)[0][-1] == "2.7 ± 2.3"


def test_a_classifier_that_reads_nothing_is_stable_and_not_judged() -> None:
    dead = dict.fromkeys(SHAPE, 0.1)
    assert list(verdict_of(**{"cgn-cf_only": dead}).spans) == ["texture", "background"]


def test_of_several_generators_the_most_accurate_speaks_for_a_factor() -> None:
    both = PARAMS.model_copy(update={"generators": ["cgn", "cut_paste", "gan"]})
    found = tables.experiments(both)
    steady = dict.fromkeys(SHAPE, 0.6)
    cells = {
        ("double_colored", name, 0): {
            test_set: {"accuracy": value, "num_images": 10_000} for test_set, value in values.items()
        }
        for name, values in {
            "cgn-cf_only": SHAPE,
            "cut_paste-cf_only": steady,
            "gan-cf_only": dict.fromkeys(SHAPE, 1.0),
        }.items()
    }
    cells["double_colored", "cgn-cf_only_texture", 0] = {
        name: {"accuracy": value, "num_images": 10_000} for name, value in CUE.items()
    }
    table = stability.stability(tables.result_rows("demo", cells, found), "double_colored", found)
    assert [row.judged for row in table] == [True, True, True, False]  # a GAN's images tell no factor from another
    verdict = stability.verdict(table)
    assert verdict is not None
    assert verdict.spans == pytest.approx({"shape": 0.02, "texture": 0.1})


def test_images_without_a_digit_to_see_do_not_count() -> None:
    cells = {
        ("double_colored", "cgn-cf_only", 0): {
            name: {"accuracy": 0.8, "num_images": 9} | ({} if name == "env_100" else {"distinct": {"accuracy": 0.9}})
            for name in SHAPE
        }
    }
    found = tables.result_rows("demo", cells, FOUND)
    assert stability.knows_distinct(found, "double_colored")
    assert not stability.knows_distinct(rows(), "double_colored")
    assert [value.mean for value in stability.stability(found, "double_colored", FOUND)[0].environments] == [
        0.9,
        0.9,
        0.8,
    ]


def test_one_factor_alone_is_not_judged() -> None:
    found = [experiment for experiment in FOUND if experiment.factor == "shape"]
    assert stability.verdict(stability.stability(rows(), "double_colored", found)) is None


def test_a_data_set_without_environments_has_no_table() -> None:
    long = [row for row in rows() if not row["test_set"].startswith("env")]
    assert stability.stability(long, "double_colored", FOUND) == []
    assert stability.stability(rows(), "colored", FOUND) == []


def test_experiments_that_are_not_compared_do_not_limit_the_environments() -> None:
    fewer = rows(original={"env_90": 0.9, "test": 0.1})
    assert stability.environments_of(fewer, "double_colored", FOUND) == ["env_90"]
    assert stability.environments_of(fewer, "double_colored", FOUND[1:]) == list(ENVIRONMENTS)


def test_an_experiment_without_a_cell_has_no_row() -> None:
    measured = [row for row in rows() if row["experiment"] != "original"]
    assert [row.judged for row in stability.stability(measured, "double_colored", FOUND)] == [True, True, True]


def test_only_environments_that_every_classifier_has_are_compared() -> None:
    fewer = {name: value for name, value in SHAPE.items() if name != "env_95"}
    found = rows(**{"cgn-cf_only": fewer})
    assert stability.environments_of(found, "double_colored", FOUND) == ["env_90", "env_100"]
    table = stability.stability(found, "double_colored", FOUND)
    assert [len(row.environments) for row in table] == [2, 2, 2, 2]
    assert stability.cells(table)[1] == ("Counterfactuals only", "shape", "91.0", "92.0", "90.0", "1.0")


def test_the_table_is_percent_from_least_to_most_correlated() -> None:
    table = stability.stability(rows(), "double_colored", FOUND)
    assert stability.header(list(ENVIRONMENTS)) == ("method", "tells", "90 %", "95 %", "100 %", "test", "span")
    assert stability.cells(table)[1] == ("Counterfactuals only", "shape", "91.0", "90.0", "92.0", "90.0", "2.0")
