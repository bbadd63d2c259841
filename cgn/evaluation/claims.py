"""What the paper claims of MNIST and its reproductions checked: each claim with our verdict and the command behind it."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cgn.config import FactorName
from cgn.evaluation import paper, stability, tables
from cgn.evaluation.margins import margin
from cgn.evaluation.measured import SweepCell

HOLDS, FAILS, UNDECIDED, UNMEASURED = "holds", "does not hold", "too close to say", "not measured"
HOW = (
    "A shortcut counts as removed where every seed is nearer to the better oracle than to the biased classifier; a difference "
    "counts where it exceeds two standard errors, those of the test images and (by Student's t) of the seeds together, as if the two "
    "were measured on different images. No harm is done where a loss of more than two points is ruled out so. A number without ± is "
    "of one seed: what another would change is not known, so that a verdict of one seed, which is marked, is of that run alone. "
    "Shapes here are those of training digits, as many as there are; the paper draws them from noise: fewer of them are fewer digits."
)
COLLAPSED = 0.15  # how far below the oracle counterfactuals alone must stay above
_HALFWAY = 0.5  # from the biased classifier to the oracle
_ERRORS = 2  # standard errors over images that a difference has to exceed
_HARM = 0.02  # a loss of accuracy that would matter
_MANY = 100_000  # counterfactuals, beyond which the reproduction saw no gain
_MANY_SEEDS = 3  # of fewer, a verdict says how many
_ONE_SEED = ", one seed"
_CGN = ("fast", "authors_code")


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
    attempts: Mapping[str, Mapping[str, Mapping[int, int]]]  # of training, by generator and seed


Said = tuple[str, str]  # verdict and numbers


class _Case:
    """The evidence of one data set: its accuracies, of the first CGN that has both mixes or else any."""

    def __init__(self, evidence: Evidence, dataset: str) -> None:
        self.evidence, self.dataset = evidence, dataset
        self.rows = [row for row in evidence.rows if row["dataset"] == dataset]
        measured = {row["experiment"] for row in self.rows}
        self.found = [one for one in evidence.found if one.name in measured]
        mixes: dict[str, set[str]] = {}
        for one in self.found:
            if one.recipe in _CGN:
                mixes.setdefault(one.name.removesuffix(f"-{one.method}"), set()).add(one.method)
        whole = [name for name, methods in mixes.items() if {"cf_only", "original_cf"} <= methods]
        self.cgn = next(iter([*whole, *mixes]), "")
        self.original, self.both, self.alone = "original", f"{self.cgn}-original_cf", f"{self.cgn}-cf_only"
        self.with_gan = next(
            (one.name for one in self.found if one.recipe == "gan" and one.method == "original_cf"), ""
        )
        oracles = {one.name: value.mean for one in self.found if one.is_oracle and (value := self.accuracy(one.name))}
        self.oracle = max(oracles, key=lambda name: oracles[name], default="")

    def accuracy(self, experiment: str) -> tables.Spread | None:
        """Test accuracy over the seeds."""
        where = {"dataset": self.dataset, "experiment": experiment, "test_set": "test", "metric": "accuracy"}
        return tables.spread(self.rows, **where)

    def seeds(self, experiment: str) -> set[int]:
        """The seeds it was measured with."""
        return {row["seed"] for row in self.rows if row["experiment"] == experiment}

    def margin(self, *values: tables.Spread) -> float:
        """How much a difference of test accuracies has to exceed."""
        wanted = ("test", "num_images")
        counts = [row["value"] for row in self.rows if (row["test_set"], row["metric"]) == wanted]
        images = sum(value.mean * (1 - value.mean) for value in values) / min(counts, default=1)
        return margin(images, values)


def claims(evidence: Evidence, datasets: Sequence[str], *, scale: str) -> list[Claim]:
    """Every claim, judged by the cells of this evidence alone; a verdict of one seed is marked, one of two says so."""
    cases = [_Case(evidence, dataset) for dataset in datasets]
    run = _run(evidence, scale)
    shares = [
        f", {tables.percent(one.real_share)} % of what is seen,"
        for one in evidence.found
        if one.method == "original_cf"
    ]
    swept = sorted({case.cgn for case in cases if case.cgn}) or ["cgn"]
    sweep = f" -S 'sweep.generators=[{','.join(swept)}]'"

    def judged(judge: Callable[[_Case], Said]) -> tuple[tuple[str, str, str], ...]:
        return tuple((tables.dataset_title(case.dataset), *judge(case)) for case in cases)

    return [
        Claim(
            "Counterfactuals beside the biased images make a classifier read the digit, where biased images alone do not.",
            "Sauer & Geiger 2021, Table 2",
            judged(lambda case: _removes_shortcut(case, case.both)),
            run,
        ),
        Claim(
            f"Biased images beside the counterfactuals{shares[0] if shares else ''} do no harm.",
            f"{paper.REPRODUCTION}, who lost 19 points on Wildlife MNIST by a share of 50 %",
            judged(_no_harm),
            run,
        ),
        Claim(
            "A generator without mechanisms does not remove the shortcut.",
            "Sauer & Geiger 2021, Table 2; both reproductions",
            judged(lambda case: _contrary(_removes_shortcut(case, case.with_gan))),
            f"{run} -S 'generators=[cgn,gan]'",
        ),
        Claim(
            "Trained from scratch, with no checkpoint of the authors, no training collapses: none is started anew, and "
            "counterfactuals alone stay within 15 points of the oracle.",
            f"the opposite was found by {paper.REPRODUCTION} and by Ankit 2022",
            judged(_stands),
            run if "seeds=" in run else f"{run} -S 'seeds=[0,1,2]'",
        ),
        Claim(
            "More counterfactuals are better, also beyond 100,000.",
            f"Sauer & Geiger 2021, Figure 7; {paper.REPRODUCTION} saw no more beyond 100,000",
            judged(_more_is_better),
            _run(evidence, "full") + sweep,  # no other scale's classifiers see as many
        ),
        Claim(
            "Several counterfactuals of one shape are better than as many of different shapes.",
            f"Sauer & Geiger 2021, Figure 7; {paper.REPRODUCTION} saw no effect",
            judged(_sharing_is_better),
            run + sweep,
        ),
        Claim(
            "Of shape, texture and background, the shape alone is a stable signal over environments.",
            "Sauer & Geiger 2021, appendix H",
            judged(_stable),
            f"{run} -S 'datasets_run=[double_colored,wildlife]' -S 'mixes=[cf_only,original_cf,cf_only_texture,cf_only_background]'",
        ),
        Claim(
            "After counterfactuals a classifier looks more at the digit (Grad-CAM).",
            f"{paper.REPRODUCTION}, on two of three data sets against the wrong digits",
            judged(_looks),
            f"dvc exp run --temp -S scale={scale}",  # of the first seed
        ),
    ]


def _run(evidence: Evidence, scale: str) -> str:
    """The command that makes the accuracies of this evidence that claims are judged by."""
    command = f"dvc exp run --temp -S scale={scale}"
    seeds = sorted({row["seed"] for row in evidence.rows})
    if len(seeds) > 1:
        command += f" -S 'seeds=[{','.join(map(str, seeds))}]'"
    oracles = [one.method for one in evidence.found if one.is_oracle]
    if oracles not in ([], ["oracle"]):
        command += f" -S 'classifiers=[{','.join(['original', *oracles])}]'"
    return command


def _said(verdict: str, numbers: str, *values: tables.Spread, oracle: tables.Spread | None = None) -> Said:
    """The verdict marked where it is of one seed, and with the numbers how many seeds there are where there are few, and those of
    the oracle that they are held to.
    """
    num_seeds = min(len(value.values) for value in values)
    if num_seeds == 1:
        verdict = _of_one_seed(verdict)
    few = [f"seeds: {num_seeds}"] if 1 < num_seeds < _MANY_SEEDS else []
    if oracle is not None and len(oracle.values) < min(num_seeds, _MANY_SEEDS):
        few.append(f"seeds of the oracle: {len(oracle.values)}")
    return verdict, numbers + (f" ({', '.join(few)})" if few else "")


def _of_one_seed(verdict: str) -> str:
    return verdict + _ONE_SEED if verdict in (HOLDS, FAILS) else verdict


def _contrary(said: Said) -> Said:
    verdict, numbers = said
    word, mark, _ = verdict.partition(_ONE_SEED)
    return {HOLDS: FAILS, FAILS: HOLDS}.get(word, word) + mark, numbers


def _decided(difference: float, least: float) -> str:
    return HOLDS if difference > least else FAILS if difference < -least else UNDECIDED


def _removes_shortcut(case: _Case, experiment: str) -> Said:
    """Whether every seed is nearer to the oracle than to the biased classifier; where seeds disagree, nothing is said."""
    reached, start, end = (case.accuracy(name) for name in (experiment, case.original, case.oracle))
    if reached is None or start is None or end is None:
        return UNMEASURED, ""
    numbers = f"{tables.percent_spread(reached)}; biased {tables.percent_spread(start)}, better oracle {tables.percent_spread(end)}"
    if end.mean - start.mean <= case.margin(start, end):
        return UNMEASURED, f"{numbers}: no shortcut to remove"
    halfway = start.mean + _HALFWAY * (end.mean - start.mean)
    nearer = {value > halfway for value in reached.values}
    verdict = UNDECIDED if len(nearer) > 1 else HOLDS if nearer == {True} else FAILS
    return _said(verdict, numbers, reached, start, oracle=end)


def _no_harm(case: _Case) -> Said:
    both, alone = case.accuracy(case.both), case.accuracy(case.alone)
    if both is None or alone is None:
        return UNMEASURED, ""
    gain, least = both.mean - alone.mean, case.margin(both, alone)
    verdict = HOLDS if gain - least > -_HARM else FAILS if gain < -least else UNDECIDED
    return _said(verdict, f"{tables.percent_spread(both)} against {tables.percent_spread(alone)}", both, alone)


def _stands(case: _Case) -> Said:
    alone, oracle = case.accuracy(case.alone), case.accuracy(case.oracle)
    if alone is None or oracle is None:
        return UNMEASURED, ""
    numbers = f"{tables.percent_spread(alone)} against {tables.percent_spread(oracle)}"
    if min(alone.values) < oracle.mean - COLLAPSED:
        return _said(FAILS, numbers, alone, oracle=oracle)
    known = case.evidence.attempts.get(case.dataset, {}).get(case.cgn, {})
    seeds = sorted(case.seeds(case.alone))
    if not set(seeds) <= set(known):
        return UNMEASURED, f"{numbers}, attempts not known"
    attempts = [known[seed] for seed in seeds]
    numbers += f", attempts: {', '.join(map(str, attempts))}"
    return _said(HOLDS if max(attempts) == 1 else FAILS, numbers, alone, oracle=oracle)


def _swept(case: _Case) -> list[SweepCell]:
    """The CGN's cells without real images, by how many there are and how many share a shape."""
    cells = case.evidence.sweeps.get(case.dataset, ())
    own = (cell for cell in cells if cell.generator == case.cgn and cell.real_percent == 0 and "test" in cell.accuracy)
    return sorted(own, key=lambda cell: (cell.num_images, cell.cf_ratio))


def _more_is_better(case: _Case) -> Said:
    """At the ratio with the longest curve, the lowest of them: whether each step is a gain. Of cells of which a classifier
    sees as many, the smallest counts.
    """
    curves: dict[int, dict[int, tables.Spread]] = {}
    for cell in _swept(case):
        curves.setdefault(cell.cf_ratio, {}).setdefault(cell.num_seen, cell.accuracy["test"])
    _, longest = max(sorted(curves.items()), key=lambda item: len(item[1]), default=(0, {}))
    curve = sorted(longest.items())
    numbers = "; ".join(f"{seen:,} seen: {tables.percent_spread(value)}" for seen, value in curve)
    if len(curve) < 2:
        return UNMEASURED, numbers
    if curve[-1][0] <= _MANY:
        return UNMEASURED, f"{numbers}; none saw more than {_MANY:,}"
    steps = {
        _decided(after.mean - before.mean, case.margin(before, after)) for (_, before), (_, after) in pairwise(curve)
    }
    verdict = next(verdict for verdict in (FAILS, UNDECIDED, HOLDS) if verdict in steps)
    return _said(verdict, numbers, *(value for _, value in curve))


def _sharing_is_better(case: _Case) -> Said:
    """Whether the fewest shapes do better than the most, at every number of counterfactuals that a classifier sees whole."""
    by_count: dict[int, dict[int, tables.Spread]] = {}
    for cell in _swept(case):
        if cell.num_seen == cell.num_images and cell.num_shapes is not None:
            by_count.setdefault(cell.num_images, {})[cell.num_shapes] = cell.accuracy["test"]
    by_count = {count: by_shapes for count, by_shapes in by_count.items() if len(by_shapes) > 1}
    if not by_count:
        return UNMEASURED, ""
    said, steps, values = [], set(), []
    for count, by_shapes in by_count.items():
        fewest, most = min(by_shapes), max(by_shapes)
        shared, single = by_shapes[fewest], by_shapes[most]
        steps.add(_decided(shared.mean - single.mean, case.margin(shared, single)))
        values += [shared, single]
        said.append(
            f"{count:,}: {tables.percent_spread(shared)} of {fewest:,} shapes, {tables.percent_spread(single)} of {most:,}"
        )
    verdict = next(verdict for verdict in (FAILS, UNDECIDED, HOLDS) if verdict in steps)
    return _said(verdict, "; ".join(said), *values)


def _stable(case: _Case) -> Said:
    table = stability.stability(case.rows, case.dataset, [one for one in case.found if one.tells_one_factor])
    verdict = stability.verdict(table)
    factors: set[FactorName] = {"shape", "texture"}
    if any(row["metric"] == "background_agreement" for row in case.rows):
        factors.add("background")
    if verdict is None or not factors <= set(verdict.spans):
        return UNMEASURED, ""
    said = UNDECIDED if verdict.causal is None else HOLDS if verdict.causal == "shape" else FAILS
    return _said(said, str(verdict), *(row.test for row in table if row.judged))


def _looks(case: _Case) -> Said:
    shares = case.evidence.looks.get(case.dataset, {})
    both, original = shares.get(case.both), shares.get(case.original)
    oracle = next((shares[one.name] for one in case.found if one.is_oracle and one.name in shares), None)
    if both is None or original is None:
        return UNMEASURED, ""
    numbers = f"{tables.percent_estimate(both)} against {tables.percent_estimate(original)} of it on the digit"
    if oracle is not None:
        numbers += f"; the oracle: {tables.percent_estimate(oracle)}"
    least = _ERRORS * math.hypot(both.error, original.error)
    return _of_one_seed(_decided(both.mean - original.mean, least)), f"{numbers} (± standard error over images)"
