"""What the data sets are made of: digits and textures, in memory."""

from typing import NamedTuple

from jaxtyping import Bool, UInt8
from torch import Tensor

from cgn.contracts import Factors, Labels, Pixels

Digits = UInt8[Tensor, "batch 28 28"]
Texture = UInt8[Tensor, "3 _ _"]


class LabelledDigits(NamedTuple):
    """Grey digits, 255 being ink, and their classes."""

    images: Digits
    labels: Labels


class Textures(NamedTuple):
    """RGB textures, one per class and in the order of the classes; sizes may differ. Empty where there are none."""

    object: tuple[Texture, ...]
    background: tuple[Texture, ...]


NO_TEXTURES = Textures((), ())


class LabelledImages(NamedTuple):
    """One split of a data set: images and what explains each of them."""

    pixels: Pixels
    labels: Labels
    factors: Factors
    low_contrast: Bool[Tensor, " batch"]  # object and background are drawn from one palette entry
