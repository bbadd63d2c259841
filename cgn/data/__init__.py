"""Biased MNIST variants: digits plus factors become images, chosen by name from `DATASETS`."""

from collections.abc import Callable
from typing import Any

import torch

from cgn.contracts import Factors, Pixels
from cgn.data import colored_mnist, double_colored_mnist, wildlife_mnist
from cgn.data.factors import UNBIASED, draw_factors
from cgn.data.types import NO_TEXTURES, Digits, LabelledDigits, LabelledImages, Textures

__all__ = ["CUES", "DATASETS", "NO_TEXTURES", "TEXTURED", "UNBIASED", "MakeImages", "draw_factors", "make_split"]

# (digits, factors, the data set's section of params.yaml, random stream, textures) -> images
MakeImages = Callable[[Digits, Factors, Any, torch.Generator, Textures], Pixels]

DATASETS: dict[str, MakeImages] = {
    "colored": colored_mnist.make_images,
    "double_colored": double_colored_mnist.make_images,
    "wildlife": wildlife_mnist.make_images,
}

# The factors beside the shape that a data set's images have.
CUES: dict[str, tuple[str, ...]] = {
    "colored": ("texture",),
    "double_colored": ("texture", "background"),
    "wildlife": ("texture", "background"),
}

TEXTURED = frozenset({"wildlife"})  # data sets that are made of texture photographs; the others get NO_TEXTURES


def make_split(
    dataset: str, digits: LabelledDigits, *, config: Any, correlation: float, rng: torch.Generator, textures: Textures
) -> LabelledImages:
    """One image per digit, in the digits' order, with cues that equal the label with probability `correlation`.

    Raises: ValueError for an unknown data set, or textures that are missing.
    """
    if dataset not in DATASETS:
        raise ValueError(f"data set: found {dataset!r}, allowed: {', '.join(DATASETS)}")
    factors = draw_factors(digits.labels, correlation, rng, CUES[dataset])
    pixels = DATASETS[dataset](digits.images, factors, config, rng, textures)
    low_contrast = torch.zeros(len(digits.labels), dtype=torch.bool)
    if dataset == "double_colored":
        low_contrast = double_colored_mnist.shares_palette_entry(factors)
    return LabelledImages(pixels, digits.labels, factors, low_contrast)
