"""The types and table schemas that pass between parts of the system; a newcomer starts here.

An image is explained by three *factors*: the class of its shape, of its texture (the object's surface or colour)
and of its background. A biased data set has all three equal; a counterfactual image draws each on its own.
"""

from typing import NamedTuple

import pyarrow as pa
from jaxtyping import Float, Int, UInt8
from torch import Tensor

FACTORS = ("shape", "texture", "background")

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


# A row per sample of a shard set, ordered by (split, index). `label` is all that a user with a biased data set has;
# the factor columns of *real* images serve the oracle and the evaluation alone.
MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),  # file name of the tar
        pa.field("offset", pa.int64(), nullable=False),  # first byte of the PNG inside the tar
        pa.field("size", pa.int64(), nullable=False),  # bytes of the PNG
        pa.field("label", pa.int16(), nullable=False),
        pa.field("shape", pa.int16(), nullable=False),
        pa.field("texture", pa.int16(), nullable=False),
        pa.field("background", pa.int16()),  # null where a real image's data set has no such factor
        # object and background are drawn from one palette entry; null where it is not known: in generated images
        pa.field("low_contrast", pa.bool_()),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
    ]
)

# The fixed-noise sheets of a generator's record, from top to bottom; a column per class.
SHEET_ROWS = ("mask", "foreground", "background", "composite")
SHEET_PADDING_PX = 2

# A row per tar of a shard set.
SHARDS_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)

# A row per evaluated image and head.
PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("test_set", pa.string(), nullable=False),  # the split of the shard set that the image is from
        pa.field("head", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("shape", pa.int16(), nullable=False),
        pa.field("texture", pa.int16(), nullable=False),
        pa.field("background", pa.int16()),
        pa.field("low_contrast", pa.bool_(), nullable=False),
        pa.field("predicted", pa.int16(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)
