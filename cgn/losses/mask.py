"""Losses on masks."""

import torch

from cgn.contracts import Labels, Masks, Scalar


def binary_entropy(mask: Masks) -> Scalar:
    """Mean entropy of the mask's pixels in nats: 0 where all are hard, log 2 where all are 0.5.

    The mask must lie strictly inside (0, 1). Source: Sauer & Geiger 2021, section 3.2, L_mask.
    """
    return -(mask * mask.log() + (1 - mask) * (1 - mask).log()).mean()


def size_hinge(mask: Masks, *, low: float, high: float) -> Scalar:
    """Distance of each image's mean mask from [low, high], averaged over the batch.

    Source: Sauer & Geiger 2021, section 3.2, the second term of L_mask, with [0.1, 0.9].
    """
    size = mask.mean(dim=(1, 2, 3))
    return (torch.relu(low - size) + torch.relu(size - high)).mean()


def saliency(mask: Masks) -> Scalar:
    """Mean of a saliency map: what of an object a background still shows.

    Source: Sauer & Geiger 2021, section 3.2, L_bg.
    """
    return mask.mean()


def binary_share(mask: Masks, *, within: float) -> Scalar:
    """The share of pixels that are decided: within so much of 0 or 1. To be watched; it has no gradient."""
    return ((mask < within) | (mask > 1 - within)).float().mean()


def border_mean(mask: Masks, *, border_px: int = 3) -> Scalar:
    """Mean of the mask over the outermost `border_px` pixels: what is object there cuts through the frame."""
    inner = mask[..., border_px:-border_px, border_px:-border_px]
    return (mask.sum() - inner.sum()) / (mask.numel() - inner.numel())


def similarity(mask: Masks, labels: Labels, *, distance: float) -> Scalar:
    """How much nearer than `distance` two masks of one class are: 0 where no pair is, 1 where all are the same.

    Pairs are neighbours once the batch is sorted by class; their distance is the mean absolute difference of pixels.
    Source: the idea is that of mode-seeking GANs (Mao et al. 2019), here with a limit, so that it falls silent.
    """
    order = torch.argsort(labels, stable=True)
    paired = labels[order[1:]] == labels[order[:-1]]
    distances = (mask[order[1:]] - mask[order[:-1]]).abs().mean(dim=(1, 2, 3))
    missing = torch.relu(1 - distances / distance)
    return (missing * paired).sum() / paired.sum().clamp(min=1)
