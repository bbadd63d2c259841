"""Losses on masks."""

from cgn.contracts import Masks, Scalar


def binary_entropy(mask: Masks) -> Scalar:
    """Mean entropy of the mask's pixels in nats: 0 where all are hard, log 2 where all are 0.5.

    The mask must lie strictly inside (0, 1). Source: Sauer & Geiger 2021, section 3.2, L_mask.
    """
    return -(mask * mask.log() + (1 - mask) * (1 - mask).log()).mean()


def border_mean(mask: Masks, *, border_px: int = 3) -> Scalar:
    """Mean of the mask over the outermost `border_px` pixels: what is object there cuts through the frame."""
    inner = mask[..., border_px:-border_px, border_px:-border_px]
    return (mask.sum() - inner.sum()) / (mask.numel() - inner.numel())
