"""What the paper claims of MNIST and its reproductions checked: each claim with our verdict and the command behind it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cgn.evaluation import paper, stability, tables
from cgn.evaluation.measured import Table

HOLDS, FAILS, UNMEASURED = "holds", "does not hold", "not measured"
_ENOUGH = 0.02  # a difference of two accuracies that counts
_COLLAPSED = 0.15  # how far below the oracle counterfactuals alone must stay above

Rows = Sequence[Mapping[str, Any]]


class Claim(NamedTuple):
    """A claim, who made it, what we saw of it per data set, and what to run to see it."""

    text: str
    source: str
    verdicts: tuple[tuple[str, str, str], ...]  # data set's title, verdict, numbers
    command: str


def claims(
    rows: Rows,
    datasets: Sequence[str],
    found: Sequence[tables.Experiment],
    sweeps: Mapping[str, Table],
    explained: Mapping[str, Mapping[str, float]],
) -> list[Claim]:
    """Every claim, judged by the cells of this report alone.

    `explained` holds, per data set and experiment, the share of Grad-CAM that falls on the digit.
    """

    def first(method: str, recipes: Sequence[str | None]) -> str | None:
        return next((one.name for one in found if one.method == method and one.recipe in recipes), None)

    cgn = ("fast", "authors_code")
    original, oracle = first("original", [None]), first("oracle", [None])
    both, alone, with_gan = first("original_cf", cgn), first("cf_only", cgn), first("original_cf", ["gan"])

    def verdicts(higher: str | None, lower: str | None, *, by: float) -> tuple[tuple[str, str, str], ...]:
        return tuple((tables.dataset_title(one), *_compared(rows, one, higher, lower, by=by)) for one in datasets)

    return [
        Claim(
            "Counterfactuals beside the biased images make a classifier read the digit, where biased images alone do not.",
            "Sauer & Geiger 2021, Table 2",
            verdicts(both, original, by=_ENOUGH),
            "dvc repro",
        ),
        Claim(
            "Biased images beside the counterfactuals do no harm.",
            f"{paper.REPRODUCTION}, who lost 19 points on Wildlife MNIST by them",
            verdicts(both, alone, by=-_ENOUGH),
            "dvc repro",
        ),
        Claim(
            "A generator without mechanisms does not remove the shortcut.",
            "Sauer & Geiger 2021, Table 2; both reproductions",
            verdicts(both, with_gan, by=_ENOUGH),
            "dvc exp run --temp -S 'generators=[cgn,gan]'",
        ),
        Claim(
            "Trained from scratch, with no checkpoint of the authors, no seed collapses: counterfactuals alone stay within "
            "15 points of the oracle.",
            f"the opposite was found by {paper.REPRODUCTION} and by Ankit 2022",
            verdicts(alone, oracle, by=-_COLLAPSED),
            "dvc exp run --temp -S 'seeds=[0,1,2]'",
        ),
        Claim(
            "More counterfactuals are better, also beyond 100,000.",
            f"Sauer & Geiger 2021, Figure 7; {paper.REPRODUCTION} saw no more beyond 100,000",
            tuple((tables.dataset_title(one), *_more_is_better(sweeps[one])) for one in datasets),
            "dvc exp run --temp -S scale=full -S 'sweep.generators=[cgn]'",
        ),
        Claim(
            "Of shape, texture and background, the shape alone is a stable signal over environments.",
            "Sauer & Geiger 2021, appendix H",
            tuple((tables.dataset_title(one), *_stable(rows, one, found)) for one in datasets),
            "dvc exp run --temp -S 'mixes=[cf_only,cf_only_texture,cf_only_background]'",
        ),
        Claim(
            "After counterfactuals a classifier looks more at the digit (Grad-CAM).",
            f"{paper.REPRODUCTION}, on two of three data sets against the wrong digits",
            tuple((tables.dataset_title(one), *_looks(explained[one], both, original)) for one in datasets),
            "dvc repro explain",
        ),
    ]


def _value(rows: Rows, dataset: str, experiment: str | None) -> tables.Spread | None:
    if experiment is None:
        return None
    return tables.spread(rows, dataset=dataset, experiment=experiment, test_set="test", metric="accuracy")


def _compared(rows: Rows, dataset: str, higher: str | None, lower: str | None, *, by: float) -> tuple[str, str]:
    """Whether the worst seed of one is above the mean of the other by so much."""
    left, right = _value(rows, dataset, higher), _value(rows, dataset, lower)
    if left is None or right is None:
        return UNMEASURED, ""
    numbers = f"{tables.percent_spread(left)} against {tables.percent_spread(right)}"
    return (HOLDS if min(left.values) >= right.mean + by else FAILS), numbers


def _more_is_better(sweep: Table) -> tuple[str, str]:
    count, ratio, test = (sweep.header.index(name) for name in ("counterfactuals", "of one shape", "test"))
    fewest = sweep.rows[0][ratio] if sweep.rows else None
    curve = [(row[count], row[test]) for row in sweep.rows if row[ratio] == fewest]
    if len(curve) < 2:
        return UNMEASURED, ""
    values = [float(value.split()[0]) for _, value in curve]
    grows = all(after > before for before, after in pairwise(values))
    return (HOLDS if grows else FAILS), "; ".join(f"{number}: {value}" for number, value in curve)


def _stable(rows: Rows, dataset: str, found: Sequence[tables.Experiment]) -> tuple[str, str]:
    sentence = stability.verdict(stability.stability(rows, dataset, found))
    if sentence is None:
        return UNMEASURED, ""
    return (HOLDS if sentence.endswith("causal one: shape.") else FAILS), sentence


def _looks(shares: Mapping[str, float], higher: str | None, lower: str | None) -> tuple[str, str]:
    left, right = shares.get(higher or ""), shares.get(lower or "")
    if left is None or right is None:
        return UNMEASURED, ""
    return (HOLDS if left > right else FAILS), f"{tables.percent(left)} against {tables.percent(right)} on the digit"
