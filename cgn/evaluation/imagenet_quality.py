"""Numbers on layers of natural images that need no label: what masks are like, and what saliency says of images."""

from typing import NamedTuple

import torch

from cgn.contracts import Images, Masks
from cgn.losses.mask import binary_share


class LayerQuality(NamedTuple):
    """Means over images, fractions; see `layer_quality`."""

    mask_mean: float
    mask_binary_share: float
    background_saliency: float
    mask_iou: float
    reconstruction_l1: float


def layer_quality(
    mask: Masks, composite: Images, target: Images, *, composite_saliency: Masks, background_saliency: Masks
) -> LayerQuality:
    """What a batch's masks are like, and what is salient in what they compose; all saliency from one network.

    `mask_mean` is the paper's mu_mask (Table 1); `mask_binary_share` counts pixels within 0.1 of 0 or 1; `background_saliency` is
    what backgrounds still show of an object and `mask_iou` how well masks agree with what is salient in the composite, both
    cut at 0.5 (appendix E): an image without either agrees. `reconstruction_l1` is the distance from the teacher's images.
    Source: Sauer & Geiger 2021, section 4.1 and appendix E.
    Raises: ValueError on an empty batch.
    """
    if len(mask) == 0:
        raise ValueError("layer_quality is undefined on no images; give at least one")
    found, salient = mask > 0.5, composite_saliency > 0.5
    both, either = ((found & salient).flatten(1).sum(1), (found | salient).flatten(1).sum(1))
    iou = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return LayerQuality(
        mask_mean=mask.mean().item(),
        mask_binary_share=binary_share(mask, within=0.1).item(),
        background_saliency=background_saliency.mean().item(),
        mask_iou=iou.mean().item(),
        reconstruction_l1=(composite - target).abs().mean().item(),
    )
