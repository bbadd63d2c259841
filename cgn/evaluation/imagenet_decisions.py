"""What classifiers of natural images decided, set by set, from their prediction table as it is read."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cgn.data.imagenet9 import VARIANTS
from cgn.errors import InputError
from cgn.evaluation.backgrounds import in9_predictions
from cgn.evaluation.imagenet_predictions import (
    CUE_CONFLICT,
    IN9_SETS,
    REMEDY,
    WHOLE_SETS,
    Predicted,
    predictor_logits,
    read_predictions,
)
from cgn.evaluation.shape_bias import decided_categories

_TOP = 5
_CATEGORIES = ("shape_category", "texture_category")


class Decisions(NamedTuple):
    """What a predictor decided on the images of a set; of what is not asked of a set, nothing."""

    top1: Tensor  # whether the label is named
    top5: Tensor  # whether it is among the five that come first
    categories: list[str]  # of the sixteen


class Decided(NamedTuple):
    """What all predictors of a classifier decided."""

    by_predictor: Mapping[str, Mapping[str, Decisions]]  # then by set
    num_images: Mapping[str, int]  # by set, in the table's order
    shapes: list[str]  # categories of cue conflict, in the order of its images
    textures: list[str]
    foregrounds: Mapping[str, list[str | None]]  # by set of ImageNet-9, in the order of its images


def decided(path: Path, classes: str, predictors: tuple[str, ...]) -> Decided:
    """The decisions that a prediction table's logits stand for; it is read in parts.

    Raises: InputError as `read_predictions` does, and where a set is unknown, one that such a classifier is not asked, or of images of
    which what is asked is not known.
    """
    parts: dict[str, dict[str, list[Decisions]]] = {predictor: {} for predictor in predictors}
    num_images: Counter[str] = Counter()
    shapes: list[str] = []
    textures: list[str] = []
    foregrounds: dict[str, list[str | None]] = {}
    for some in read_predictions(path):
        decide = _decider(path, some, classes)
        for predictor in predictors:
            parts[predictor].setdefault(some.set, []).append(decide(predictor_logits(some.logits, predictor)))
        num_images[some.set] += len(some.keys)
        if some.set == CUE_CONFLICT:
            shapes.extend(some.known["shape_category"])
            textures.extend(some.known["texture_category"])
        elif some.set not in WHOLE_SETS:
            foregrounds.setdefault(some.set, []).extend(some.known["foreground"])
    joined = {
        predictor: {name: _joined(of_set) for name, of_set in of_predictor.items()}
        for predictor, of_predictor in parts.items()
    }
    return Decided(joined, num_images, shapes, textures, foregrounds)


def _joined(parts: list[Decisions]) -> Decisions:
    return Decisions(
        torch.cat([part.top1 for part in parts]),
        torch.cat([part.top5 for part in parts]),
        [name for part in parts for name in part.categories],
    )


def _decider(path: Path, some: Predicted, classes: str) -> Callable[[Tensor], Decisions]:
    """How logits of a set's images become decisions."""
    none = torch.zeros(0, dtype=torch.bool)
    coarse = some.set.startswith(tuple(f"{prefix}_" for prefix in IN9_SETS.values()))
    if some.set not in all_sets():
        raise InputError(f"{path}: found the set {some.set!r}, allowed: {', '.join(all_sets())}; {REMEDY}")
    if classes != "imagenet" and not coarse:
        raise InputError(f"{path}: found {some.set}, expected no such set of a classifier of nine classes; {REMEDY}")
    needed = ("in9_label",) if coarse else _CATEGORIES if some.set == CUE_CONFLICT else ("label",)
    for column in needed:
        if None in (values := some.known[column]):
            key = some.keys[values.index(None)]
            raise InputError(f"{path}: found {key} of {some.set} without {column}, expected every image's; {REMEDY}")
    if some.set == CUE_CONFLICT:
        return lambda logits: Decisions(none, none, decided_categories(logits))
    labels = torch.tensor(some.known[needed[0]])
    if coarse:
        return lambda logits: Decisions(coarse_decisions(logits, classes) == labels, none, [])
    return lambda logits: Decisions(*_hits(logits, labels), [])


def coarse_decisions(logits: Tensor, classes: str) -> Tensor:
    """The class of ImageNet-9 that logits of a thousand or of nine `classes` decide for; -1: none of them."""
    predicted = logits.argmax(1)
    return in9_predictions(predicted) if classes == "imagenet" else predicted


def _hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the label comes first, and whether it is among the first five: of equal logits the lower class comes first."""
    own = logits.gather(1, labels[:, None])
    before = (logits > own) | ((logits == own) & (torch.arange(logits.shape[1]) < labels[:, None]))
    place = before.sum(1)
    return place == 0, place < _TOP


@cache
def all_sets() -> list[str]:
    """The names of all sets that there may be."""
    coarse = [f"{prefix}_{variant}" for prefix in IN9_SETS.values() for variant in VARIANTS]
    return [*WHOLE_SETS, CUE_CONFLICT, *coarse]
