"""How far a classifier leans on backgrounds: accuracy on the variants of ImageNet-9, the gap between them, and its challenge.

Source: Xiao et al. 2020, "Noise or signal: the role of image backgrounds in object recognition".
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from cgn.contracts import Labels
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.errors import InputError

Correct = Bool[Tensor, " images"]
_RESAMPLES = 2000


class Interval(NamedTuple):
    """A share of images with the limits that hold it in 95 of 100 draws of as many images."""

    value: float
    low: float
    high: float


def in9_predictions(predicted: Labels) -> Labels:
    """The classes of ImageNet-9 that ImageNet's classes belong to; -1, which is no label, where one belongs to none."""
    return coarse_labels(IN9)[predicted]


def accuracy_interval(correct: Correct, rng: torch.Generator) -> Interval:
    """Share of all images that are classified correctly, with a bootstrap interval over images.

    Raises: InputError on no images.
    """
    _not_empty("accuracy", correct)
    shares = correct.float()[_resampled(len(correct), rng)].mean(1)
    return Interval(correct.float().mean().item(), *_limits(shares))


def background_gap(
    mixed_same: Bool[Tensor, " same"], mixed_rand: Bool[Tensor, " rand"], rng: torch.Generator
) -> Interval:
    """BG-Gap: accuracy on foregrounds before backgrounds of their own class, minus that before backgrounds of random classes.

    Source: Xiao et al. 2020, section 3.2. The two variants are resampled independently, since they need not hold the same foregrounds.
    Raises: InputError where a variant has no images.
    """
    _not_empty("mixed_same", mixed_same)
    _not_empty("mixed_rand", mixed_rand)
    same, rand = (part.float()[_resampled(len(part), rng)].mean(1) for part in (mixed_same, mixed_rand))
    return Interval((mixed_same.float().mean() - mixed_rand.float().mean()).item(), *_limits(same - rand))


def challenge_accuracy(correct: Bool[Tensor, "foregrounds backgrounds"], rng: torch.Generator) -> Interval:
    """Share of foregrounds that stay correctly classified before every one of the backgrounds.

    Source: Xiao et al. 2020, section 3.3; theirs are all 4,050 backgrounds, and fewer give a higher accuracy.
    Raises: InputError without foregrounds or backgrounds.
    """
    if correct.numel() == 0:
        raise InputError(f"challenge: found {tuple(correct.shape)} foregrounds and backgrounds, expected some of both")
    return accuracy_interval(correct.all(1), rng)


def _not_empty(name: str, correct: Correct) -> None:
    if len(correct) == 0:
        raise InputError(f"{name}: found no images, expected some")


def _resampled(num: int, rng: torch.Generator) -> Tensor:
    return torch.randint(num, (_RESAMPLES, num), generator=rng)


def _limits(values: Tensor) -> tuple[float, float]:
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975])).tolist()
    return low, high
