"""The tables that pass between stages, all of them Parquet: their schemas, writing and reading. Loads without torch."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cgn.errors import InputError
from cgn.files import replacing_file
from cgn.mnist import NUM_CLASSES

FACTORS = ("shape", "texture", "background")

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
        pa.field("head", pa.string(), nullable=False),  # the factor that was to be told
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("shape", pa.int16(), nullable=False),
        pa.field("texture", pa.int16(), nullable=False),
        pa.field("background", pa.int16()),
        pa.field("low_contrast", pa.bool_(), nullable=False),
        pa.field("predicted", pa.int16(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, pages with checksums, beside the target and then renamed."""
    with replacing_file(path) as beside:
        pq.write_table(table, beside, compression="zstd", write_page_checksum=True)


def read_table(path: Path, schema: pa.Schema, *, classes: Sequence[str], remedy: str) -> pa.Table:
    """A table that `write_table` wrote.

    Raises: InputError where it is missing, torn, damaged or of another schema, or a column of `classes` holds something
    that is no class.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; {remedy}")
    try:
        # Without partitioning=None folders like seed=0 would become columns.
        table: pa.Table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
        found, expected = (set(str(columns).splitlines()) for columns in (table.schema, schema))
        same = table.schema.equals(schema)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}); {remedy}") from error
    if not same:
        differing = "; ".join(sorted(found - expected)) or "no other column"
        lacking = "; ".join(sorted(expected - found)) or "another order"
        raise InputError(f"{path}: found {differing}, expected {lacking}; {remedy}")
    check_classes(path, table, classes, num_classes=NUM_CLASSES, remedy=remedy)
    return table


def check_classes(path: Path, table: pa.Table, columns: Sequence[str], *, num_classes: int, remedy: str) -> None:
    """Raises: InputError where a column of a table holds something that is no class."""
    for name in columns:
        limits = pc.min_max(table[name]).as_py()
        if limits["min"] is not None and not 0 <= limits["min"] <= limits["max"] < num_classes:
            raise InputError(
                f"{path} has {name} classes from {limits['min']} to {limits['max']}, expected 0 to {num_classes - 1}; "
                f"{remedy}"
            )
