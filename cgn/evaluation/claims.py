"""What the paper claims of MNIST and its reproductions checked: each claim with our verdict and the command behind it."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cgn.evaluation import paper, stability, tables
from cgn.evaluation.measured import SweepCell

HOLDS, FAILS, UNMEASURED = "holds", "does not hold", "not measured"
COLLAPSED = 0.15  # how far below the oracle counterfactuals alone must stay above
_HALFWAY = 0.5  # from the biased classifier to the oracle: beyond it the shortcut is gone for the most part
_ERRORS = 2  # standard errors that a difference has to exceed
_MANY = 100_000  # counterfactuals, beyond which the reproduction saw no gain


class Claim(NamedTuple):
    """A claim, who made it, what we saw of it per data set, and what to run to see it."""

    text: str
    source: str
    verdicts: tuple[tuple[str, str, str], ...]  # data set's title, verdict, numbers
    command: str


class Evidence(NamedTuple):
    """What claims are judged by: the long table and its experiments, and per data set what else was measured."""

    rows: Sequence[Mapping[str, Any]]
    found: Sequence[tables.Experiment]
    sweeps: Mapping[str, Sequence[SweepCell]]
    looks: Mapping[str, Mapping[str, tables.Estimate]]  # share of Grad-CAM on the digit, by experiment
    attempts: Mapping[str, Mapping[str, Sequence[int]]]  # of training, by generator, seed by seed

    def first(self, method: str, recipes: Sequence[str | None]) -> str | None:
        """The first experiment of a method with a generator of these recipes."""
        return next((one.name for one in self.found if one.method == method and one.recipe in recipes), None)

    def accuracy(self, dataset: str, experiment: str | None) -> tables.Spread | None:
        """Test accuracy over the seeds."""
        if experiment is None:
            return None
        return tables.spread(self.rows, dataset=dataset, experiment=experiment, test_set="test", metric="accuracy")

    def error(self, dataset: str, *values: tables.Spread) -> float:
        """The standard error of a difference of test accuracies: of the test images, and of the seeds."""
        wanted = (dataset, "test", "num_images")
        counts = [row["value"] for row in self.rows if (row["dataset"], row["test_set"], row["metric"]) == wanted]
        images = sum(value.mean * (1 - value.mean) for value in values) / min(counts, default=math.inf)
        seeds = sum((value.std or 0.0) ** 2 / len(value.values) for value in values)
        return math.sqrt(images + seeds)


Judge = Callable[[str], tuple[str, str]]  # from a data set to verdict and numbers


def claims(evidence: Evidence, datasets: Sequence[str]) -> list[Claim]:
    """Every claim, judged by the cells of this evidence alone; a verdict of fewer than three seeds says how many."""
    cgn = ("fast", "authors_code")
    original, oracle = evidence.first("original", [None]), evidence.first("oracle", [None])
    both, alone = evidence.first("original_cf", cgn), evidence.first("cf_only", cgn)
    with_gan = evidence.first("original_cf", ["gan"])

    def judged(judge: Judge) -> tuple[tuple[str, str, str], ...]:
        return tuple((tables.dataset_title(one), *judge(one)) for one in datasets)

    return [
        Claim(
            "Counterfactuals beside the biased images make a classifier read the digit, where biased images alone do not.",
            "Sauer & Geiger 2021, Table 2",
            judged(lambda one: _gets_halfway(evidence, one, both, original, oracle)),
            "dvc repro",
        ),
        Claim(
            "Biased images beside the counterfactuals do no harm.",
            f"{paper.REPRODUCTION}, who lost 19 points on Wildlife MNIST by them",
            judged(lambda one: _no_worse(evidence, one, both, alone)),
            "dvc repro",
        ),
        Claim(
            "A generator without mechanisms does not remove the shortcut.",
            "Sauer & Geiger 2021, Table 2; both reproductions",
            judged(lambda one: _contrary(_gets_halfway(evidence, one, with_gan, original, oracle))),
            "dvc exp run --temp -S 'generators=[cgn,gan]'",
        ),
        Claim(
            "Trained from scratch, with no checkpoint of the authors, no training collapses: none is started anew, and "
            "counterfactuals alone stay within 15 points of the oracle.",
            f"the opposite was found by {paper.REPRODUCTION} and by Ankit 2022",
            judged(lambda one: _stands(evidence, one, alone, oracle)),
            "dvc exp run --temp -S 'seeds=[0,1,2]'",
        ),
        Claim(
            "More counterfactuals are better, also beyond 100,000.",
            f"Sauer & Geiger 2021, Figure 7; {paper.REPRODUCTION} saw no more beyond 100,000",
            judged(lambda one: _more_is_better(evidence, one)),
            "dvc exp run --temp -S scale=full -S 'sweep.generators=[cgn]'",
        ),
        Claim(
            "Of shape, texture and background, the shape alone is a stable signal over environments.",
            "Sauer & Geiger 2021, appendix H",
            judged(lambda one: _stable(evidence, one)),
            "dvc exp run --temp -S 'mixes=[cf_only,original_cf,cf_only_texture,cf_only_background]'",
        ),
        Claim(
            "After counterfactuals a classifier looks more at the digit (Grad-CAM).",
            f"{paper.REPRODUCTION}, on two of three data sets against the wrong digits",
            judged(lambda one: _looks(evidence.looks.get(one, {}), both, original, oracle)),
            "dvc repro explain",
        ),
    ]


def _said(holds: bool, numbers: str, *values: tables.Spread) -> tuple[str, str]:
    """The verdict, and with the numbers how many seeds it is of where they are few."""
    num_seeds = min((len(value.values) for value in values), default=3)
    few = "" if num_seeds >= 3 else f" (seeds: {num_seeds})"
    return (HOLDS if holds else FAILS), numbers + few


def _contrary(said: tuple[str, str]) -> tuple[str, str]:
    verdict, numbers = said
    return {HOLDS: FAILS, FAILS: HOLDS}.get(verdict, verdict), numbers


def _gets_halfway(
    evidence: Evidence, dataset: str, experiment: str | None, original: str | None, oracle: str | None
) -> tuple[str, str]:
    """Whether every seed is nearer to the oracle than to the biased classifier."""
    reached, start, end = (evidence.accuracy(dataset, name) for name in (experiment, original, oracle))
    if reached is None or start is None or end is None:
        return UNMEASURED, ""
    numbers = (
        f"{tables.percent_spread(reached)}, between {tables.percent_spread(start)} and {tables.percent_spread(end)}"
    )
    if end.mean - start.mean <= _ERRORS * evidence.error(dataset, start, end):
        return UNMEASURED, f"{numbers}: no shortcut to remove"
    return _said(min(reached.values) > start.mean + _HALFWAY * (end.mean - start.mean), numbers, reached)


def _no_worse(evidence: Evidence, dataset: str, one: str | None, other: str | None) -> tuple[str, str]:
    left, right = evidence.accuracy(dataset, one), evidence.accuracy(dataset, other)
    if left is None or right is None:
        return UNMEASURED, ""
    margin = _ERRORS * evidence.error(dataset, left, right)
    numbers = f"{tables.percent_spread(left)} against {tables.percent_spread(right)}"
    return _said(left.mean >= right.mean - margin, numbers, left, right)


def _stands(evidence: Evidence, dataset: str, alone: str | None, oracle: str | None) -> tuple[str, str]:
    left, right = evidence.accuracy(dataset, alone), evidence.accuracy(dataset, oracle)
    if alone is None or left is None or right is None:
        return UNMEASURED, ""
    numbers = f"{tables.percent_spread(left)} against {tables.percent_spread(right)}"
    close = min(left.values) >= right.mean - COLLAPSED
    attempts = evidence.attempts.get(dataset, {}).get(alone.removesuffix("-cf_only"), ())
    if len(attempts) != len(left.values):
        return (UNMEASURED, f"{numbers}, attempts not known") if close else _said(False, numbers, left)
    return _said(close and max(attempts) == 1, f"{numbers}, attempts: {', '.join(map(str, attempts))}", left)


def _more_is_better(evidence: Evidence, dataset: str) -> tuple[str, str]:
    """Of one generator's cells without real images and with the fewest images to a shape: whether each step is a gain."""
    cells = [cell for cell in evidence.sweeps.get(dataset, ()) if cell.real_percent == 0 and "test" in cell.accuracy]
    cells = [cell for cell in cells if cell.generator == cells[0].generator]
    fewest = min((cell.cf_ratio for cell in cells), default=1)
    of_seen = {cell.num_seen: cell.accuracy["test"] for cell in cells if cell.cf_ratio == fewest}
    curve = sorted(of_seen.items())
    numbers = "; ".join(f"{seen:,} seen: {tables.percent_spread(value)}" for seen, value in curve)
    if len(curve) < 2 or curve[-1][0] <= _MANY:
        return UNMEASURED, f"{numbers}; none saw more than {_MANY:,}" if curve else ""
    grows = all(
        after.mean - before.mean > _ERRORS * evidence.error(dataset, before, after)
        for (_, before), (_, after) in pairwise(curve)
    )
    return _said(grows, numbers, *(value for _, value in curve))


def _stable(evidence: Evidence, dataset: str) -> tuple[str, str]:
    table = stability.stability(evidence.rows, dataset, evidence.found)
    if (verdict := stability.verdict(table)) is None:
        return UNMEASURED, ""
    return _said(verdict.causal == "shape", str(verdict), *(row.test for row in table))


def _looks(
    shares: Mapping[str, tables.Estimate], both: str | None, original: str | None, oracle: str | None
) -> tuple[str, str]:
    left, right, best = (shares.get(name or "") for name in (both, original, oracle))
    if left is None or right is None:
        return UNMEASURED, ""
    numbers = f"{tables.percent_estimate(left)} against {tables.percent_estimate(right)} of it on the digit"
    if best is not None:
        numbers += f"; the oracle: {tables.percent_estimate(best)}"
    error = math.hypot(left.error, right.error)
    return (HOLDS if left.mean - right.mean > _ERRORS * error else FAILS), f"{numbers} (seeds: 1)"
