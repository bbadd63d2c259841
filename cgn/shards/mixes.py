"""Shard sets of ImageNet-9: JPEGs of natural size in tars, with a manifest that names both images of every mix.

The form is that of the other shard sets (tars, manifest.parquet with a row per sample, shards.parquet with a row per tar) with other
columns. `webdataset` reads the tars: `<key>.jpg` or, of masks, `<key>.png`, and the class of ImageNet-9 in `<key>.cls`.
"""

import pyarrow as pa

# A row per sample, ordered by (part, variant, index).
MIXES_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # in9-<part>-<variant>-<index, eight digits>
        pa.field("part", pa.string(), nullable=False),  # train or val
        pa.field("variant", pa.string(), nullable=False),  # one of VARIANTS, or fg_mask: 8 bits, 255 on the object
        pa.field("shard", pa.string(), nullable=False),  # file name of the tar
        pa.field("offset", pa.int64(), nullable=False),  # first byte of the picture inside the tar
        pa.field("size", pa.int64(), nullable=False),  # bytes of the picture
        pa.field("label", pa.int16(), nullable=False),  # of ImageNet-9: what is to be told
        # What the label is of: the object's image; and the image of the background that is visible, null in only_fg and fg_mask.
        # Images by the stem of their file, which is unique in a part; classes by ImageNet's numbers.
        pa.field("foreground_class", pa.int16(), nullable=False),
        pa.field("foreground_image", pa.string(), nullable=False),
        pa.field("background_class", pa.int16()),
        pa.field("background_image", pa.string()),
        pa.field("index", pa.int64(), nullable=False),  # in (part, variant)
        pa.field("seed", pa.int64(), nullable=False),
    ]
)
FG_MASK = "fg_mask"
