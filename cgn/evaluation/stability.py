"""Which signal is causal? The one whose classifier is as good in every environment: the paper's Table 5."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cgn.config import FactorName
from cgn.evaluation import tables
from cgn.evaluation.margins import margin
from cgn.evaluation.measured import Table
from cgn.mnist import ENVIRONMENTS

_DISTINCT, _DISTINCT_COUNT = "distinct.accuracy", "distinct.num_images"
_ABLE = 0.5  # a classifier that reads fewer images of an environment has no signal to speak of


class Stability(NamedTuple):
    """One classifier's accuracy on the class, environment by environment."""

    label: str
    factor: FactorName  # that it was taught to tell
    judged: bool  # its factor is the only signal it can have, and it reads that in every environment
    environments: tuple[tables.Spread, ...]
    test: tables.Spread
    num_images: int  # of the smallest environment

    @property
    def mean(self) -> float:
        """Mean accuracy over the environments, of the means over seeds."""
        return sum(value.mean for value in self.environments) / len(self.environments)

    @property
    def spans(self) -> tables.Spread:
        """Highest minus lowest accuracy over the environments, seed by seed."""
        by_seed = zip(*(value.values for value in self.environments), strict=True)
        return tables.spread_of([max(values) - min(values) for values in by_seed])

    @property
    def span(self) -> float:
        """Mean over seeds of highest minus lowest accuracy over the environments."""
        return self.spans.mean

    @property
    def variance(self) -> float:
        """What finitely many images add to the span, as to a difference of two accuracies."""
        return 2 * self.mean * (1 - self.mean) / self.num_images


class Verdict(NamedTuple):
    """How far each factor's best classifier moves over the environments, and which factor moves least."""

    spans: Mapping[FactorName, float]  # the most stable first
    causal: FactorName | None  # none where the next one cannot be told from it

    def __str__(self) -> str:
        moves = ", ".join(f"{factor} {tables.percent(span)}" for factor, span in self.spans.items())
        conclusion = (
            f"The stable signal, so the causal one: {self.causal}."
            if self.causal
            else "No one signal is the most stable."
        )
        return f"Accuracy moves over the environments by points: {moves}. {conclusion}"


def knows_distinct(rows: Sequence[Mapping[str, Any]], dataset: str) -> bool:
    """Whether a data set knows of images without a digit to see; all others (`distinct`) are compared there.

    How many such images an environment has depends on how often its cues agree, and no classifier can read them.
    """
    return any(row["dataset"] == dataset and row["metric"] == _DISTINCT for row in rows)


def environments_of(rows: Sequence[Mapping[str, Any]], dataset: str, found: Sequence[tables.Experiment]) -> list[str]:
    """The environments that all of these experiments' measured seeds have, the least correlated first."""
    names = {one.name for one in found}
    measured: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        if row["dataset"] == dataset and row["experiment"] in names:
            measured.setdefault((row["experiment"], row["seed"]), set()).add(row["test_set"])
    return [name for name in ENVIRONMENTS if measured and all(name in found for found in measured.values())]


def _accuracy(rows: Sequence[Mapping[str, Any]], dataset: str, experiment: str, test_set: str) -> tables.Spread | None:
    """On distinct images where some are not, on all where none is known to be otherwise."""
    where = {"dataset": dataset, "experiment": experiment, "test_set": test_set}
    return tables.spread(rows, **where, metric=_DISTINCT) or tables.spread(rows, **where, metric="accuracy")


def stability(rows: Sequence[Mapping[str, Any]], dataset: str, found: Sequence[tables.Experiment]) -> list[Stability]:
    """Accuracies over the environments that all have, of every experiment that was measured; none below two environments."""
    environments = environments_of(rows, dataset, found)
    if len(environments) < 2:
        return []
    count = _DISTINCT_COUNT if knows_distinct(rows, dataset) else "num_images"
    counts = [
        row["value"]
        for row in rows
        if row["dataset"] == dataset and row["test_set"] in environments and row["metric"] == count
    ]
    table = []
    for experiment in found:
        values = [_accuracy(rows, dataset, experiment.name, name) for name in (*environments, "test")]
        if not (known := [value for value in values if value is not None]):
            continue
        *over, test = known
        judged = experiment.tells_one_factor and min(value.mean for value in over) >= _ABLE
        table.append(Stability(experiment.label, experiment.factor, judged, tuple(over), test, min(counts, default=1)))
    return table


def verdict(table: Sequence[Stability]) -> Verdict | None:
    """What the spans say of the factors; None where fewer than two factors have a classifier to judge.

    Environments alone decide: the test set, where cues are random, is what the answer is for. With several generators
    a factor's most accurate classifier speaks for it.
    """
    best: dict[FactorName, Stability] = {}
    for row in table:
        if row.judged and (row.factor not in best or row.mean > best[row.factor].mean):
            best[row.factor] = row
    if len(best) < 2:
        return None
    first, second, *_ = ranked = sorted(best.values(), key=lambda row: row.span)
    least = margin(first.variance + second.variance, [first.spans, second.spans])
    causal = first.factor if second.span - first.span > least else None
    return Verdict({row.factor: row.span for row in ranked}, causal)


def table_and_verdict(
    rows: Sequence[Mapping[str, Any]], dataset: str, found: Sequence[tables.Experiment]
) -> tuple[Table, Verdict | None]:
    """What `stability` finds as text, and what `verdict` says of it."""
    known = stability(rows, dataset, found)
    return Table(header(environments_of(rows, dataset, found)), cells(known)), verdict(known)


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
            tables.percent_spread(row.spans),
        )
        for row in table
    ]
