"""Losses on the features of a perceptual network."""

import torch
from jaxtyping import Float
from torch import Tensor

from cgn.contracts import Scalar

Features = Float[Tensor, "batch channels height width"]


def gram_matrix(features: Features) -> Float[Tensor, "batch channels channels"]:
    """How channels occur together, wherever: their products, averaged over places and divided by their number.

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
