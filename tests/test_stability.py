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
        ("double_colored", name, 0): {test_set: {"accuracy": value} for test_set, value in values.items()}
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
    assert stability.verdict(table) == (
        "Accuracy moves over the environments by points: shape 2.0, texture 10.0, background 10.0. "
        "The stable signal, so the causal one: shape."
    )


def test_the_verdict_follows_the_numbers_and_not_the_names() -> None:
    swapped = {"cgn-cf_only": CUE, "cgn-cf_only_background": SHAPE}
    verdict = stability.verdict(stability.stability(rows(**swapped), "double_colored", FOUND))
    assert verdict is not None
    assert verdict.endswith("The stable signal, so the causal one: background.")


def test_without_a_difference_there_is_no_verdict() -> None:
    even = dict.fromkeys(("cgn-cf_only", "cgn-cf_only_texture", "cgn-cf_only_background"), CUE)
    verdict = stability.verdict(stability.stability(rows(**even), "double_colored", FOUND))
    assert verdict is not None
    assert verdict.endswith("No one signal is the most stable.")


def test_one_factor_alone_is_not_judged() -> None:
    found = [experiment for experiment in FOUND if experiment.factor == "shape"]
    assert stability.verdict(stability.stability(rows(), "double_colored", found)) is None


def test_a_data_set_without_environments_has_no_table() -> None:
    long = [row for row in rows() if not row["test_set"].startswith("env")]
    assert stability.stability(long, "double_colored", FOUND) == []
    assert stability.stability(rows(), "colored", FOUND) == []


def test_an_experiment_without_a_cell_has_no_row() -> None:
    measured = [row for row in rows() if row["experiment"] != "original"]
    assert [row.judged for row in stability.stability(measured, "double_colored", FOUND)] == [True, True, True]


def test_only_environments_that_every_classifier_has_are_compared() -> None:
    fewer = {name: value for name, value in SHAPE.items() if name != "env_95"}
    found = rows(**{"cgn-cf_only": fewer})
    assert stability.environments_of(found, "double_colored") == ["env_90", "env_100"]
    table = stability.stability(found, "double_colored", FOUND)
    assert [len(row.environments) for row in table] == [2, 2, 2, 2]
    assert stability.cells(table)[1] == ("Counterfactuals only", "shape", "91.0", "92.0", "90.0", "1.0")


def test_the_table_is_percent_from_least_to_most_correlated() -> None:
    table = stability.stability(rows(), "double_colored", FOUND)
    assert stability.header(list(ENVIRONMENTS)) == ("method", "tells", "90 %", "95 %", "100 %", "test", "span")
    assert stability.cells(table)[1] == ("Counterfactuals only", "shape", "91.0", "90.0", "92.0", "90.0", "2.0")
