"""What the paper and others claim of classifiers taught by counterfactuals of natural images, judged by what was measured here."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cgn.config import (
    EnsembleMethod,
    ImagenetErm,
    ImagenetMethod,
    LastLayerMethod,
    Params,
    PublishedMethod,
    needs_generated,
)
from cgn.evaluation import imagenet_classifiers_paper as paper
from cgn.evaluation import tables
from cgn.evaluation.claims import FAILS, HOLDS, UNDECIDED, UNMEASURED, Claim
from cgn.evaluation.imagenet_classifier_runs import Classifier, Place, label
from cgn.evaluation.imagenet_tables import CLASSES, PREDICTOR_NAMES, Runs

HOW = (
    "A difference counts where it exceeds two standard errors, those of the images and of the seeds together, as if the two were measured "
    "on different images; ± is those two. What seeds add to the error of a single one is not known and left out, and a verdict on fewer "
    "than three says how many. Nor is there an error of images where all or none are right, whose interval has no width. Who is asked on "
    "either side is named."
)
_ERRORS = 2  # standard errors that a difference has to exceed
_WIDTH = 2 * 1.96  # standard errors between the limits of an interval of 95 %
_GIVEN_UP = 0.03  # of held-out accuracy, that would matter
_WHOLE = ("shape_texture", "average")  # predictors that ask more than one head; the paper's on ImageNet-9 first
_BASELINES = ("mixed_rand", "last_layer", "swaps", "swap_ensemble")

Verdict = tuple[str, str, str]  # of whom, verdict, numbers
Looks = Mapping[str, Mapping[str, tables.Estimate]]  # share of Grad-CAM on the object, by classifier's name and head


class _Number(NamedTuple):
    """A mean over seeds, its standard error and how many seeds it is of."""

    mean: float
    error: float
    num_seeds: int


class _UnmeasuredError(Exception):
    """A number that a verdict needs is not there; the message says why."""


class _Case(NamedTuple):
    """An ensemble, who is asked, and the plain classifier of as many classes that it is held against, if there is one."""

    runs: Runs
    looks: Looks
    params: Params
    ensemble: Classifier
    predictor: str

    def name(self, classifier: Classifier) -> str:
        return label(classifier, self.params)

    def number(self, place: Place, *, predictor: str = "") -> _Number:
        """Of the ensemble. Raises: _UnmeasuredError."""
        return _number(self, self.ensemble, predictor or self.predictor, place)

    def plain(self, place: Place) -> tuple[str, _Number]:
        """The plain classifier's name, and its number. Raises: _UnmeasuredError."""
        classes = self.runs[self.ensemble][0].classes
        ranks = {one: rank for one in self.runs if (rank := _plainness(self.params, one, classes)) is not None}
        if not ranks:
            raise _UnmeasuredError(
                f"the lists name no plain classifier of {CLASSES[classes]} classes, such as `original` or `in9`, to hold it against"
            )
        classifier = min(ranks, key=lambda one: ranks[one])
        return self.name(classifier), _number(self, classifier, "only", place)


def _number(case: _Case, classifier: Classifier, predictor: str, place: Place) -> _Number:
    runs = case.runs[classifier]
    found = [one for run in runs if (one := run.measures[predictor].get(place)) is not None]
    if not found:
        raise _UnmeasuredError(f"{case.name(classifier)}, {'.'.join(place)}: {runs[0].reason(predictor, place)}")
    value = tables.spread_of([one.value for one in found])
    of_images = sum(one.high - one.low for one in found) / len(found) / _WIDTH
    return _Number(value.mean, math.hypot(of_images, (value.std or 0.0) / math.sqrt(len(found))), len(found))


def _plainness(params: Params, classifier: Classifier, classes: str) -> int | None:
    """Trained on photographs as they are comes before as published; None for what is no plain classifier of these classes."""
    method = params.imagenet_methods[classifier.method]
    if isinstance(method, PublishedMethod):
        return 1 if classes == "imagenet" else None
    plain = isinstance(method, ImagenetErm) and set(method.mix) <= {"images", "in9_original"}
    return 0 if plain and method.classes == classes else None


def _is_baseline(method: ImagenetMethod) -> bool:
    """Whether it learns from masks or from Mixed-Rand, without a generator."""
    if isinstance(method, PublishedMethod) or needs_generated(method):
        return False
    aided = any(source == "swapped" or source.startswith("in9_mixed") for source in method.mix)
    return aided or isinstance(method, LastLayerMethod | EnsembleMethod)


# ---- judging


def claims(runs: Runs, looks: Looks, params: Params, *, scale: str) -> list[Claim]:
    """Every claim, judged per ensemble by these numbers alone; `looks` are of the first seed."""
    ensembles = [one for one in runs if isinstance(params.imagenet_methods[one.method], EnsembleMethod)]
    run = _command(params, scale)

    def judged(judge: Callable[[_Case], tuple[str, str]], *predictors: str) -> tuple[Verdict, ...]:
        cases = [_Case(runs, looks, params, one, predictor) for one in ensembles for predictor in predictors]
        verdicts = [
            (f"{case.name(case.ensemble)}, {PREDICTOR_NAMES[case.predictor]}", *_judged(judge, case)) for case in cases
        ]
        return tuple(verdicts) or (("", UNMEASURED, "the lists name no classifier of three heads"),)

    return [
        Claim(
            "Counterfactuals narrow the gap between backgrounds of the same and of random classes (BG-Gap).",
            "Sauer & Geiger 2021, Table 4: from 7.3 to 3.3",
            judged(_narrows, *_WHOLE),
            run,
        ),
        Claim(
            "They narrow it by raising Mixed-Rand, not by lowering Mixed-Same.",
            "In the paper's own Table 4 Mixed-Rand rises by 1.2 and Mixed-Same falls by 2.8; a blind classifier has no gap",
            judged(_narrows_by_raising, *_WHOLE),
            run,
        ),
        Claim(
            "The gap depends on which of the heads are asked.",
            f"{paper.RERUN_LOGS}: 4.9 by shape + texture, 10.7 by the average",
            judged(_gap_of_predictors, "average"),
            run,
        ),
        Claim(
            "No baseline without a generator reaches more on Mixed-Rand.",
            f"{paper.KIRICHENKO}: 92.6 by a last layer alone, of nine classes, where the paper's ensemble has 80.1",
            _against_baselines(runs, looks, params),
            _command(params, scale, _BASELINES),
        ),
        Claim(
            "The shape head goes by shape more than a plain classifier does.",
            "Sauer & Geiger 2021, Table 3: a shape bias of 54.8 against 21.39",
            judged(_bias_rises, "shape"),
            run,
        ),
        Claim(
            "The texture head goes by shape less than a plain classifier does.",
            "Sauer & Geiger 2021, Table 3: a shape bias of 16.7 against 21.39",
            judged(_bias_falls, "texture"),
            run,
        ),
        Claim(
            "Held-out accuracy falls by no more than three points.",
            "Sauer & Geiger 2021, Table 3: top-1 from 76.13 to 74.0, of the average",
            judged(_gives_up_little, "average"),
            run,
        ),
        Claim(
            "The shape head looks at the object more than the background head does (Grad-CAM).",
            "What the heads are for: Sauer & Geiger 2021, section 4.2",
            judged(_looks_at_object, "shape"),
            run,
        ),
    ]


def _command(params: Params, scale: str, further: Sequence[str] = ()) -> str:
    """What makes the numbers that claims are judged by, with methods beyond those that the lists name. In the working tree, because a
    copy of it lacks weights and photographs, and its runs of days could not be resumed.
    """
    known = [name for name in further if name in params.imagenet_methods]
    axes = {
        "imagenet": [scale],
        "seeds": [str(seed) for seed in params.seeds],
        "imagenet_classifiers": list(dict.fromkeys([*params.imagenet_classifiers, *known])),
        "imagenet_mixes": params.imagenet_mixes,
        "imagenet_recipes": params.imagenet_recipes,
        "imagenet_changes": params.imagenet_changes,
    }
    settings = "".join(f" -S '{name}=[{','.join(some)}]'" for name, some in axes.items())
    return f"dvc exp run{settings} report_imagenet_classifiers@{scale}"


def _judged(judge: Callable[[_Case], tuple[str, str]], case: _Case) -> tuple[str, str]:
    try:
        return judge(case)
    except _UnmeasuredError as missing:
        return UNMEASURED, str(missing)


def _margin(*numbers: _Number) -> float:
    return _ERRORS * math.sqrt(sum(number.error**2 for number in numbers))


def _decided(difference: float, margin: float) -> str:
    return HOLDS if difference > margin else FAILS if difference < -margin else UNDECIDED


def _points(difference: float, margin: float) -> str:
    return f"{100 * difference:+.1f} ± {100 * margin:.1f}"


def _change(before: _Number, after: _Number) -> str:
    return _points(after.mean - before.mean, _margin(before, after))


def _seeds(*numbers: _Number) -> str:
    fewest = min(number.num_seeds for number in numbers)
    return "" if fewest >= 3 else f" (seeds: {fewest})"


def _against(own: _Number, name: str, other: _Number) -> str:
    numbers = f"{tables.percent(own.mean)} against {tables.percent(other.mean)} of {name}"
    return f"{numbers}, {_change(other, own)}{_seeds(own, other)}"


def _narrows(case: _Case) -> tuple[str, str]:
    after = case.number(paper.GAP)
    name, before = case.plain(paper.GAP)
    return _decided(before.mean - after.mean, _margin(before, after)), f"gap {_against(after, name, before)}"


def _narrows_by_raising(case: _Case) -> tuple[str, str]:
    """Holds where Mixed-Rand rose and Mixed-Same did not fall; nothing is said where the gap did not narrow for sure."""
    gap, _ = _narrows(case)
    same, rand = case.number(paper.MIXED_SAME), case.number(paper.MIXED_RAND)
    name, same_before = case.plain(paper.MIXED_SAME)
    _, rand_before = case.plain(paper.MIXED_RAND)
    numbers = f"Mixed-Rand {_change(rand_before, rand)}, Mixed-Same {_change(same_before, same)} from {name}"
    numbers += _seeds(same, rand, same_before, rand_before)
    if gap != HOLDS:
        return (
            gap,
            f"{numbers}; {'the gap widened' if gap == FAILS else 'whether the gap narrowed is too close to say'}",
        )
    rises = rand.mean - rand_before.mean > _margin(rand, rand_before)
    falls = same_before.mean - same.mean > _margin(same, same_before)
    return FAILS if falls else HOLDS if rises else UNDECIDED, numbers


def _gap_of_predictors(case: _Case) -> tuple[str, str]:
    """Holds where two predictors' gaps differ for sure; that they are one is never sure."""
    average, two = case.number(paper.GAP), case.number(paper.GAP, predictor="shape_texture")
    margin = _margin(average, two)
    verdict = HOLDS if abs(average.mean - two.mean) > margin else UNDECIDED
    return verdict, f"gap {_against(average, PREDICTOR_NAMES['shape_texture'], two)}"


def _against_baselines(runs: Runs, looks: Looks, params: Params) -> tuple[Verdict, ...]:
    """A verdict per ensemble that learns from a generator, whichever of its predictors does best, and baseline."""
    ensembles = [one for one in runs if needs_generated(params.imagenet_methods[one.method])]
    baselines = [one for one in runs if _is_baseline(params.imagenet_methods[one.method])]
    found: list[Verdict] = []
    for ensemble in ensembles:
        for baseline in baselines:
            case = _Case(runs, looks, params, ensemble, "")

            def judge(case: _Case, baseline: Classifier = baseline) -> tuple[str, str]:
                return _beats(case, baseline)

            found.append((f"{case.name(ensemble)} against {case.name(baseline)}", *_judged(judge, case)))
    nobody = "an ensemble with a generator" if not ensembles else "a baseline, such as `mixed_rand` or `last_layer`"
    return tuple(found) or (("", UNMEASURED, f"the lists do not name {nobody}"),)


def _best(case: _Case, classifier: Classifier) -> tuple[str, _Number]:
    """The predictor that does best on Mixed-Rand, and its accuracy."""
    predictors = [name for name in ("only", *_WHOLE) if name in case.runs[classifier][0].measures]
    numbers = {name: _number(case, classifier, name, paper.MIXED_RAND) for name in predictors}
    best = max(numbers, key=lambda name: numbers[name].mean)
    return best, numbers[best]


def _beats(case: _Case, baseline: Classifier) -> tuple[str, str]:
    (asked, own), (other_asked, other) = _best(case, case.ensemble), _best(case, baseline)
    numbers = (
        f"{PREDICTOR_NAMES[asked]} {_against(own, f'{case.name(baseline)} ({PREDICTOR_NAMES[other_asked]})', other)}"
    )
    kinds = [CLASSES[case.runs[one][0].classes] for one in (case.ensemble, baseline)]
    if kinds[0] != kinds[1]:
        numbers += f"; of {kinds[0]} classes against {kinds[1]}: not the same task"
    return _decided(own.mean - other.mean, _margin(own, other)), numbers


def _bias_rises(case: _Case) -> tuple[str, str]:
    own = case.number(paper.SHAPE_BIAS)
    name, other = case.plain(paper.SHAPE_BIAS)
    return _decided(own.mean - other.mean, _margin(own, other)), f"shape bias {_against(own, name, other)}"


def _bias_falls(case: _Case) -> tuple[str, str]:
    own = case.number(paper.SHAPE_BIAS)
    name, other = case.plain(paper.SHAPE_BIAS)
    return _decided(other.mean - own.mean, _margin(own, other)), f"shape bias {_against(own, name, other)}"


def _gives_up_little(case: _Case) -> tuple[str, str]:
    own = case.number(paper.TOP1)
    name, other = case.plain(paper.TOP1)
    verdict = _decided(_GIVEN_UP - (other.mean - own.mean), _margin(own, other))
    return verdict, f"top-1 {_against(own, name, other)}"


def _looks_at_object(case: _Case) -> tuple[str, str]:
    heads = case.looks.get(case.ensemble.name, {})
    shape, background = heads.get("shape"), heads.get("background")
    if shape is None or background is None:
        raise _UnmeasuredError("Grad-CAM left too few images any attribution")
    margin = _ERRORS * math.hypot(shape.error, background.error)
    numbers = (
        f"{tables.percent_estimate(shape)} of it on the object against {tables.percent_estimate(background)}, "
        "of images on which the heads disagree most (seeds: 1)"
    )
    return _decided(shape.mean - background.mean, margin), numbers
