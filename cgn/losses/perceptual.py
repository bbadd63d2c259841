"""Losses on the features of a perceptual network."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cgn.contracts import Scalar

Features = Float[Tensor, "batch channels height width"]


def gram_matrix(features: Features) -> Float[Tensor, "batch channels channels"]:
    """How channels occur together, wherever: their products, summed over places and divided by channels times places.

    Source: Gatys et al. 2015; normalised as by Johnson et al. 2016, section 3.2.
    """
    maps = features.flatten(2)
    return maps @ maps.transpose(1, 2) / maps[0].numel()


def style_distance(found: Features, target: Features) -> Scalar:
    """Mean absolute difference of two batches' Gram matrices, image by image.

    # Differs from the paper: absolute and not squared differences, as in the repository
    # counterfactual_generative_networks.
    """
    return torch.abs(gram_matrix(found) - gram_matrix(target)).mean()


def perceptual_distance(
    found: Sequence[Tensor], target: Sequence[Tensor], *, content: Sequence[float], style: Sequence[float]
) -> Scalar:
    """Weighted distances of two images' features, stage by stage: of the features themselves and of their Gram matrices.

    `content` and `style` hold a weight per stage; stages without weight are not computed.
    Source: Johnson et al. 2016, section 3.2, with absolute differences; with style alone, the L_perc of the CGN's authors.
    """
    terms = []
    for maps, wanted, content_weight, style_weight in zip(found, target, content, style, strict=True):
        if content_weight:
            terms.append(content_weight * (maps.float() - wanted.float()).abs().mean())
        if style_weight:
            terms.append(style_weight * style_distance(maps.float(), wanted.float()))
    return torch.stack(terms).sum() if terms else found[0].new_zeros(())


def num_weighted_stages(content: Sequence[float], style: Sequence[float]) -> int:
    """How many of a perceptual network's stages have to be computed for `perceptual_distance`: up to the last with a weight."""
    weighted = [stage for stage, weights in enumerate(zip(content, style, strict=True), start=1) if any(weights)]
    return max(weighted, default=0)
