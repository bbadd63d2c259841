"""How far a classifier leans on backgrounds: accuracy on the variants of ImageNet-9, the gap between them, and its challenge.

Source: Xiao et al. 2020, "Noise or signal: the role of image backgrounds in object recognition".
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from cgn.contracts import Labels
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.errors import InputError
from cgn.evaluation.intervals import Interval, interval, resampled_counts

Correct = Bool[Tensor, " images"]


def in9_predictions(predicted: Labels) -> Labels:
    """The classes of ImageNet-9 that ImageNet's classes belong to; -1, which is no label, where one belongs to none."""
    return coarse_labels(IN9)[predicted]


def accuracy_interval(correct: Correct, rng: torch.Generator) -> Interval:
    """Share of all images that are classified correctly, with a bootstrap interval over images.

    Raises: InputError on no images.
    """
    _not_empty("accuracy", correct)
    return interval(_share(correct), _resampled(correct, rng))


def background_gap(
    mixed_same: Bool[Tensor, " same"], mixed_rand: Bool[Tensor, " rand"], rng: torch.Generator
) -> Interval:
    """BG-Gap: accuracy on foregrounds before backgrounds of their own class, minus that before backgrounds of random classes.

    Source: Xiao et al. 2020, section 3.2. The two variants are resampled independently; see `paired_background_gap`.
    Raises: InputError where a variant has no images.
    """
    _not_empty("mixed_same", mixed_same)
    _not_empty("mixed_rand", mixed_rand)
    same, rand = _resampled(mixed_same, rng), _resampled(mixed_rand, rng)
    return interval(_share(mixed_same) - _share(mixed_rand), same - rand)


def paired_background_gap(
    mixed_same: Bool[Tensor, " foregrounds"], mixed_rand: Bool[Tensor, " foregrounds"], rng: torch.Generator
) -> Interval:
    """The same where both variants hold the same foregrounds, in one order: foregrounds are resampled, each with both its images.

    The interval is narrower than that of `background_gap`, for what makes a foreground hard does so in both variants.
    Raises: InputError where there are no images.
    """
    _not_empty("mixed_same", mixed_same)
    num = len(mixed_same)
    lost, won = (int((one & ~other).sum()) for one, other in ((mixed_same, mixed_rand), (mixed_rand, mixed_same)))
    losses = resampled_counts(lost / num, num, rng)
    wins = resampled_counts(won / max(num - lost, 1), num - losses, rng)
    return interval((lost - won) / num, (losses - wins) / num)


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


def _share(correct: Correct) -> float:
    return int(correct.sum()) / len(correct)


def _resampled(correct: Correct, rng: torch.Generator) -> Tensor:
    return resampled_counts(_share(correct), len(correct), rng) / len(correct)
