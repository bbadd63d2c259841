"""Does a CGN still make shapes? Statistics of its masks, and the verdict."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from cgn.config import CollapseConfig
from cgn.contracts import Labels, Masks
from cgn.errors import InputError
from cgn.losses.mask import border_mean
from cgn.mnist import NUM_CLASSES


class CollapseError(InputError):
    """A generator whose masks have stopped being shapes; the message says in what way."""


class MaskStatistics(NamedTuple):
    """What is known of masks without knowing any true mask; all are fractions in [0, 1]."""

    mask_mean: float
    binary_share: float  # pixels within 0.05 of 0 or 1
    border_mean: float  # of the outermost 3 px; of the class that has most there
    class_diversity: float  # standard deviation over one class's masks, mean over pixels; of the least diverse class
    class_distance: float  # mean absolute difference of two classes' mean masks, mean over pairs
    class_roughness: float  # mean absolute difference of neighbouring pixels; of the roughest class

    @classmethod
    def recorded(cls, record: Mapping[str, int | float]) -> "MaskStatistics":
        """The statistics that a training record holds beside other numbers."""
        return cls(**{name: record[name] for name in cls._fields})


def mask_statistics(masks: Masks, labels: Labels) -> MaskStatistics:
    """Statistics of masks of which every class has at least two.

    Raises: InputError where a class has fewer.
    """
    counts = torch.bincount(labels, minlength=NUM_CLASSES)
    if int(counts.min()) < 2:
        raise InputError(f"mask statistics: found {counts.tolist()} masks per class, expected at least two of each")
    per_class = [masks[labels == label] for label in range(NUM_CLASSES)]
    means = torch.stack([part.mean(0) for part in per_class]).flatten(1)
    distances = torch.cdist(means, means, p=1) / means.shape[1]
    return MaskStatistics(
        mask_mean=masks.mean().item(),
        binary_share=((masks < 0.05) | (masks > 0.95)).float().mean().item(),
        border_mean=max(border_mean(part).item() for part in per_class),
        class_diversity=min(part.std(0).mean().item() for part in per_class),
        class_distance=(distances.sum() / (NUM_CLASSES * (NUM_CLASSES - 1))).item(),
        class_roughness=max(_roughness(part) for part in per_class),
    )


def _roughness(masks: Masks) -> float:
    down, right = masks.diff(dim=2).abs().mean(), masks.diff(dim=3).abs().mean()
    return ((down + right) / 2).item()


def check_collapse(statistics: MaskStatistics, limits: CollapseConfig | None, *, where: str = "") -> None:
    """A generator without masks has no limits; `where` says in the message which masks these are.

    Raises: CollapseError, naming every statistic out of its limits.
    """
    if limits is None:
        return
    low, high = limits.mask_mean
    faults = []
    if not low <= statistics.mask_mean <= high:
        faults.append(f"mask mean {statistics.mask_mean:.3f}, expected {low} to {high}")
    if statistics.binary_share < limits.min_binary_share:
        faults.append(f"binary pixels {statistics.binary_share:.3f}, expected at least {limits.min_binary_share}")
    if statistics.border_mean > limits.max_border_mean:
        faults.append(
            f"border mask of one class {statistics.border_mean:.3f}, expected at most {limits.max_border_mean}"
        )
    if statistics.class_diversity < limits.min_class_diversity:
        faults.append(
            f"masks of one class differ by {statistics.class_diversity:.4f}, expected at least "
            f"{limits.min_class_diversity}: all look alike"
        )
    if statistics.class_distance < limits.min_class_distance:
        faults.append(
            f"mean masks of the classes differ by {statistics.class_distance:.4f}, expected at least "
            f"{limits.min_class_distance}: a disc in place of digits"
        )
    if statistics.class_roughness > limits.max_class_roughness:
        faults.append(
            f"neighbouring pixels of one class's masks differ by {statistics.class_roughness:.3f}, expected at most "
            f"{limits.max_class_roughness}: noise in place of strokes"
        )
    if faults:
        raise CollapseError(f"the generator has collapsed{where}: {'; '.join(faults)}")
