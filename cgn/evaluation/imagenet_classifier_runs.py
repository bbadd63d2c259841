"""What classifiers of natural images were scored: those that the lists name, seed by seed, predictor by predictor."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import Params, PublishedMethod
from cgn.errors import InputError
from cgn.evaluation.imagenet_predictions import HEADS, ONLY, PREDICTORS

Place = tuple[str, ...]  # the names that lead to a number of a predictor in a metrics file

NO_REASON = "its metrics do not say why"
ONE_HEAD = (ONLY,)
_SIGNED = "gap"  # in the names of numbers that may lie below zero
LABELS = {
    "published": "IN, as published",
    "original": "IN",
    "cgn_ensemble": "IN + CGN",
    "sin": "SIN",
    "in_sin": "IN + SIN",
    "in9": "IN-9",
    "mixed_rand": "Mixed-Rand",
    "last_layer": "Last layer alone (DFR)",
    "swaps": "IN-9 + swaps",
    "swap_ensemble": "IN-9 + swaps, three heads",
}


class Classifier(NamedTuple):
    """A method, and the generator whose counterfactuals it learns from, if any."""

    method: str
    recipe: str = ""
    change: str = ""

    @property
    def name(self) -> str:
        """What its folders and files are called after."""
        return "-".join(part for part in (self.recipe, self.change, self.method) if part)

    def target(self, scale: str, seed: int) -> str:
        """The stage that writes its metrics."""
        return f"score_imagenet{'_with' if self.recipe else ''}@{scale}-{self.name}-{seed}"


class Measure(NamedTuple):
    """A share of images, or a difference of shares, with the limits of its interval of 95 %."""

    value: float
    low: float
    high: float


class Run(NamedTuple):
    """One training, scored."""

    scale: str
    classifier: Classifier
    seed: int
    classes: str  # imagenet or in9
    heads: Sequence[str]
    measures: Mapping[str, Mapping[Place, Measure]]  # by predictor
    counts: Mapping[str, Mapping[Place, int]]  # by predictor: of images and of decisions
    per_category: Mapping[str, Mapping[str, tuple[int, int]]]  # by predictor: decided by the shape, by the texture
    absent: Mapping[str, str]  # why a set or a measure is missing
    protocol: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The stage that writes its metrics."""
        return self.classifier.target(self.scale, self.seed)

    def reason(self, predictor: str, place: Place) -> str:
        """Why this number is not there: what metrics say of it, of its set, or of a set that it is made of."""
        sets = {
            "in9": "in9_" + place[-1],
            "released_in9": "released_" + place[-1],
            "background_gap": "in9_mixed_same",
            "challenge": "in9_fg_mask",
            "released_background_gap": "released_mixed_same",
        }
        names = [".".join(place), *(".".join(place[:end]) for end in range(len(place) - 1, 0, -1))]
        names = [*(f"{predictor}.{name}" for name in names), *names, sets.get(place[0], "")]
        return next((self.absent[name] for name in names if name in self.absent), NO_REASON)


def listed(params: Params) -> list[Classifier]:
    """The classifiers that the lists in params name, in their order."""
    with_one = product(params.imagenet_mixes, params.imagenet_recipes, params.imagenet_changes)
    return [
        *(Classifier(method) for method in params.imagenet_classifiers),
        *(Classifier(method, recipe, change) for method, recipe, change in with_one),
    ]


def label(classifier: Classifier, params: Params) -> str:
    """What a classifier is called in tables; its generator is named where there are several."""
    text = LABELS.get(classifier.method, classifier.method.replace("_", " "))
    several = {
        "recipe": len(params.imagenet_recipes) > 1,
        "change": len(params.imagenet_changes) > 1,
    }
    of_generator = [getattr(classifier, axis).replace("_", " ") for axis, listed_too in several.items() if listed_too]
    return f"{text} ({', '.join(of_generator)})" if classifier.recipe and of_generator else text


def read_runs(metrics: Path, params: Params, scale: str) -> dict[Classifier, list[Run]]:
    """Every run that the lists in params name, seed by seed; files beyond them are ignored.

    Raises: InputError where one is missing, is no metrics file, or is of another kind of classifier than params say.
    """
    return {
        classifier: [_read_run(metrics, params, scale, classifier, seed) for seed in params.seeds]
        for classifier in listed(params)
    }


def _read_run(metrics: Path, params: Params, scale: str, classifier: Classifier, seed: int) -> Run:
    path = metrics / f"{classifier.name}-{seed}.json"
    remedy = f"run `dvc repro {classifier.target(scale, seed)}`"
    if not path.is_file():
        raise InputError(f"report_imagenet_classifiers: found no {path}, expected metrics; {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise ValueError(f"found {type(content).__name__}, expected names and numbers")
        run = _parsed(content, scale, classifier, seed)
        _check_kind(run, params)
    except (ValueError, TypeError, KeyError) as error:
        cause = f"found no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"report_imagenet_classifiers: {path} holds no metrics of this classifier ({cause}); delete it and {remedy}"
        ) from error
    return run


def _parsed(content: Mapping[str, Any], scale: str, classifier: Classifier, seed: int) -> Run:
    predictors = content["predictors"]
    if unknown := sorted(set(predictors) - set(PREDICTORS)):
        raise ValueError(f"predictors: found {unknown[0]!r}, allowed: {', '.join(PREDICTORS)}")
    measures = {name: dict(_measures(predictors[name], ())) for name in PREDICTORS if name in predictors}
    counts = {name: dict(_counts(predictors[name], ())) for name in measures}
    categories = {
        name: {category: _pair(counts, category) for category, counts in of_one.items()}
        for name, content in predictors.items()
        if (of_one := (content.get("cue_conflict") or {}).get("per_category"))
    }
    absent = {str(name): str(reason) for name, reason in (content.get("absent") or {}).items()}
    protocol = content.get("protocol") or {}
    return Run(
        scale,
        classifier,
        seed,
        content["classes"],
        tuple(content["heads"]),
        measures,
        counts,
        categories,
        absent,
        protocol,
    )


def _measures(content: Any, place: Place) -> Iterator[tuple[Place, Measure]]:
    """Every number with limits below a place; what is null, and counts, are left out."""
    if not isinstance(content, Mapping):
        return
    if "value" not in content:
        for name, one in content.items():
            yield from _measures(one, (*place, str(name)))
    elif content["value"] is not None:
        numbers = [content[name] for name in Measure._fields]
        least = -1.0 if any(_SIGNED in name for name in place) else 0.0
        for number in numbers:
            if type(number) not in (int, float) or not math.isfinite(number) or not least <= number <= 1:
                raise ValueError(f"{'.'.join(place)}: found {number!r}, expected {least:g} to 1")
        yield place, Measure(*(float(number) for number in numbers))


def _counts(content: Any, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(content, Mapping):
        for name, one in content.items():
            yield from _counts(one, (*place, str(name)))
    elif place[-1].startswith("num_"):
        if type(content) is not int or content < 0:
            raise ValueError(f"{'.'.join(place)}: found {content!r}, expected a count")
        yield place, content


def _pair(counts: Any, category: str) -> tuple[int, int]:
    if not isinstance(counts, list) or len(counts) != 2 or any(type(one) is not int or one < 0 for one in counts):
        raise ValueError(f"per_category.{category}: found {counts!r}, expected two counts")
    return counts[0], counts[1]


def _check_kind(run: Run, params: Params) -> None:
    """Raises: ValueError where heads, predictors or classes are not those of the method."""
    method = params.imagenet_methods[run.classifier.method]
    heads = HEADS if method.rule == "ensemble" else ONE_HEAD
    if tuple(run.heads) != heads:
        raise ValueError(f"heads: found {', '.join(run.heads)}, expected {', '.join(heads)}")
    if run.measures.keys() != (expected := set(PREDICTORS) - {ONLY} if heads == HEADS else {ONLY}):
        raise ValueError(f"predictors: found {', '.join(run.measures)}, expected {', '.join(sorted(expected))}")
    classes = "imagenet" if isinstance(method, PublishedMethod) else method.classes
    if run.classes != classes:
        raise ValueError(f"classes: found {run.classes!r}, expected {classes!r}")
