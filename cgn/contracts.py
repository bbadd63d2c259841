"""The types that pass between parts of the system; a newcomer starts here, and goes on with `cgn/schemas.py`.

An image is explained by three *factors*: the class of its shape, of its texture (the object's surface or colour)
and of its background. A biased data set has all three equal; a counterfactual image draws each on its own.
"""

from typing import NamedTuple

from jaxtyping import Float, Int, UInt8
from torch import Tensor

# float32 in [-1, 1] in memory; a mask is 1 on the object and stays strictly inside (0, 1) where it is learned.
Images = Float[Tensor, "batch 3 height width"]
Masks = Float[Tensor, "batch 1 height width"]
# What lies on disk: uint8, and what is decoded from it before scaling.
Pixels = UInt8[Tensor, "batch 3 height width"]
Labels = Int[Tensor, " batch"]
Scalar = Float[Tensor, ""]


class Factors(NamedTuple):
    """The class of every mechanism per image. `background` is -1 throughout where a data set has no such factor."""

    shape: Labels
    texture: Labels
    background: Labels


# The fixed-noise sheets of a generator's record, from top to bottom; a column per class.
SHEET_ROWS = ("mask", "foreground", "background", "composite")
SHEET_PADDING_PX = 2
