"""Counterfactuals as numbers: pure functions of images, masks, features and labels.

Source of the first three: Monteiro et al. 2023, Measuring axiomatic soundness of counterfactual image models; Melistas et
al. 2024, Benchmarking counterfactual image generation. Here images are drawn, not inferred, so that composition is between
two drawings of one noise.
"""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cgn.contracts import Labels, Masks, Pixels
from cgn.errors import InputError
from cgn.mnist import NUM_CLASSES

Features = Float[Tensor, "_ features"]
Region = Bool[Tensor, "batch 1 height width"]


def effectiveness(judged: Labels, asked_for: Labels) -> float:
    """Share of images in which a judge sees the class that was asked for, in [0, 1].

    Raises: InputError where there is no image.
    """
    if not len(judged):
        raise InputError("effectiveness: found no image, expected some")
    return float((judged == asked_for).double().mean())


def composition(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference in [0, 1] of images drawn twice from the same noise and labels: 0 is perfect."""
    return (first.int() - second.int()).abs().double().mean().item() / 255


def minimality(before: Pixels, after: Pixels, region: Region) -> float:
    """Share of all absolute change that falls into the region which the changed factor owns, in [0, 1]: 1 is perfect.

    1 as well where nothing changed at all.
    """
    change = (before.int() - after.int()).abs().sum(1, keepdim=True).double()
    total = change.sum()
    return float((change * region).sum() / total) if total else 1.0


def frechet_distance(found: Features, expected: Features) -> float:
    """Squared Frechet distance of normal distributions fitted to two sets of features: 0 where they are the same.

    Raises: InputError where a set has fewer rows than columns, so that its covariance is not known.
    Source: Heusel et al. 2017, section 2, who take Inception's features.
    """
    for features in (found, expected):
        if len(features) <= features.shape[1]:
            raise InputError(
                f"frechet_distance: found {len(features)} images for {features.shape[1]} features, expected more images"
            )
    means = [part.double().mean(0) for part in (found, expected)]
    covariances = [torch.cov(part.double().T) for part in (found, expected)]
    product = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.clamp(min=0).sqrt().sum()
    distance = (means[0] - means[1]).square().sum() + covariances[0].trace() + covariances[1].trace() - 2 * product
    return max(0.0, float(distance))


def diversity(features: Float[Tensor, "batch features"], labels: Labels) -> float:
    """Mean distance of the features of two images of one class, over neighbours in each class's order."""
    distances = []
    for label in range(NUM_CLASSES):
        of_class = features[labels == label]
        distances += [(left - right).norm() for left, right in pairwise(of_class)]
    return torch.stack(distances).mean().item() if distances else 0.0


def nearest_iou(
    masks: Masks, labels: Labels, real: Float[Tensor, "digits 1 height width"], real_labels: Int[Tensor, " digits"]
) -> list[float]:
    """Per class, how well its masks cover the nearest real digit's: mean intersection over union, in [0, 1].

    Masks count as object above 0.5, and so do their complements: of the two the better one counts, because no training
    image says which side is the object.
    Raises: InputError where a class has no mask or no real digit.
    """
    return [
        max(_nearest_iou(side, real[real_labels == label]) for side in (of_class, 1 - of_class))
        for label, of_class in ((label, masks[labels == label]) for label in range(NUM_CLASSES))
    ]


def paired_iou(masks: Masks, labels: Labels, truth: Masks) -> list[float]:
    """Per class, how well masks cover the true ones of the same images: mean intersection over union, in [0, 1].

    Masks count as object above 0.5.
    Raises: InputError where a class has no mask.
    """
    left, right = ((part > 0.5).flatten(1) for part in (masks, truth))
    overlap = (left & right).sum(1) / (left | right).sum(1).clamp(min=1)
    counts = torch.bincount(labels, minlength=NUM_CLASSES)
    if not int(counts.min()):
        raise InputError(f"paired_iou: found {counts.tolist()} masks per class, expected some of each")
    return [overlap[labels == label].mean().item() for label in range(NUM_CLASSES)]


def _nearest_iou(masks: Masks, real: Float[Tensor, "digits 1 height width"]) -> float:
    if not len(masks) or not len(real):
        raise InputError(
            f"nearest_iou: found {len(masks)} masks and {len(real)} digits of a class, expected some of each"
        )
    left, right = ((part > 0.5).flatten(1).float() for part in (masks, real))
    intersection = left @ right.T
    union = left.sum(1)[:, None] + right.sum(1) - intersection
    return (intersection / union.clamp(min=1)).amax(1).mean().item()
