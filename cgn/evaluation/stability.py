"""Which signal is causal? The one whose classifier is as good in every environment: the paper's Table 5."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cgn.config import FactorName
from cgn.evaluation import tables
from cgn.mnist import ENVIRONMENTS


class Stability(NamedTuple):
    """One classifier's accuracy on the class, environment by environment."""

    label: str
    factor: FactorName  # that it was taught to tell
    judged: bool  # taught with counterfactuals alone, so that its factor is the only signal it can have
    environments: tuple[tables.Spread, ...]
    test: tables.Spread

    @property
    def span(self) -> float:
        """Highest minus lowest accuracy over the environments, of the means over seeds."""
        means = [value.mean for value in self.environments]
        return max(means) - min(means)


def environments_of(rows: Sequence[Mapping[str, Any]], dataset: str) -> list[str]:
    """The environments that every classifier and seed of a data set was measured in, the least correlated first."""
    measured: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        if row["dataset"] == dataset:
            measured.setdefault((row["experiment"], row["seed"]), set()).add(row["test_set"])
    return [name for name in ENVIRONMENTS if measured and all(name in found for found in measured.values())]


def stability(rows: Sequence[Mapping[str, Any]], dataset: str, found: Sequence[tables.Experiment]) -> list[Stability]:
    """Accuracies over the environments that all have, of every experiment that was measured; none below two environments."""
    environments = environments_of(rows, dataset)
    if len(environments) < 2:
        return []
    table = []
    for experiment in found:
        values = [
            tables.spread(rows, dataset=dataset, experiment=experiment.name, test_set=name, metric="accuracy")
            for name in (*environments, "test")
        ]
        if not (known := [value for value in values if value is not None]):
            continue
        *over, test = known
        judged = experiment.real_share == 0
        table.append(Stability(experiment.label, experiment.factor, judged, tuple(over), test))
    return table


def verdict(table: Sequence[Stability]) -> str | None:
    """What the spans say of the factors, in a sentence; None where fewer than two factors have a classifier to judge.

    Environments alone decide: the test set, where cues are random, is what the answer is for. With several generators
    a factor's best classifier speaks for it.
    """
    spans: dict[str, float] = {}
    for row in table:
        if row.judged:
            spans[row.factor] = min(row.span, spans.get(row.factor, 1.0))
    if len(spans) < 2:
        return None
    ranked = sorted(spans, key=lambda factor: spans[factor])
    shown = [tables.percent(spans[factor]) for factor in ranked]
    moves = ", ".join(f"{factor} {span}" for factor, span in zip(ranked, shown, strict=True))
    conclusion = (
        "No one signal is the most stable."
        if shown[0] == shown[1]
        else f"The stable signal, so the causal one: {ranked[0]}."
    )
    return f"Accuracy moves over the environments by points: {moves}. {conclusion}"


def header(environments: Sequence[str]) -> tuple[str, ...]:
    """The column names of `cells`."""
    return ("method", "tells", *(f"{100 * ENVIRONMENTS[name]:g} %" for name in environments), "test", "span")


def cells(table: Sequence[Stability]) -> list[tuple[str, ...]]:
    """The table as text, in percent."""
    return [
        (
            row.label,
            row.factor,
            *(tables.percent_spread(value) for value in row.environments),
            tables.percent_spread(row.test),
            tables.percent(row.span),
        )
        for row in table
    ]
