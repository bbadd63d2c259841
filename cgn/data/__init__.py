"""Biased MNIST variants: digits plus factors become images, chosen by name from `DATASETS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from cgn.contracts import Factors, Pixels
from cgn.data import colored_mnist, double_colored_mnist, wildlife_mnist
from cgn.data.factors import UNBIASED, draw_factors
from cgn.data.types import NO_TEXTURES, Digits, LabelledDigits, LabelledImages, Textures
from cgn.errors import InputError

__all__ = ["DATASETS", "NO_TEXTURES", "UNBIASED", "Dataset", "MakeImages", "draw_factors", "make_split"]

# (digits, factors, the data set's section of params.yaml, random stream, textures) -> images
MakeImages = Callable[[Digits, Factors, Any, torch.Generator, Textures], Pixels]


def never(factors: Factors) -> Bool[Tensor, " batch"]:
    """False for every image."""
    return torch.zeros(len(factors.shape), dtype=torch.bool)


class Dataset(NamedTuple):
    """What a variant of MNIST is."""

    make_images: MakeImages
    cues: tuple[str, ...]  # the factors beside the shape that its images have
    textured: bool = False  # whether it is made of texture photographs; if not, it is given NO_TEXTURES
    is_low_contrast: Callable[[Factors], Bool[Tensor, " batch"]] = never


DATASETS: dict[str, Dataset] = {
    "colored": Dataset(colored_mnist.make_images, cues=("texture",)),
    "double_colored": Dataset(
        double_colored_mnist.make_images,
        cues=("texture", "background"),
        is_low_contrast=double_colored_mnist.shares_palette_entry,
    ),
    "wildlife": Dataset(wildlife_mnist.make_images, cues=("texture", "background"), textured=True),
}


def make_split(
    dataset: str, digits: LabelledDigits, *, config: Any, correlation: float, rng: torch.Generator, textures: Textures
) -> LabelledImages:
    """One image per digit, in the digits' order, with cues that equal the label with probability `correlation`.

    Raises: InputError for an unknown data set, or textures that are missing.
    """
    if dataset not in DATASETS:
        raise InputError(f"data set: found {dataset!r}, allowed: {', '.join(DATASETS)}")
    variant = DATASETS[dataset]
    factors = draw_factors(digits.labels, correlation, rng, variant.cues)
    pixels = variant.make_images(digits.images, factors, config, rng, textures)
    return LabelledImages(pixels, digits.labels, factors, variant.is_low_contrast(factors))
