"""The two tables of a shard set: manifest.parquet (a row per sample) and shards.parquet (a row per tar)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from cgn.errors import InputError
from cgn.mnist import IMAGE_PX, NUM_CLASSES
from cgn.schemas import FACTORS, MANIFEST_SCHEMA, SHARDS_SCHEMA, check_classes, read_table, write_table

MANIFEST, SHARDS = "manifest.parquet", "shards.parquet"
REMEDY = "delete the folder and run `dvc repro`, or `dvc pull` it again"


class Limits(NamedTuple):
    """What the images of a shard set may be."""

    num_classes: int
    size_px: int | None  # a side; None: any, but all images of a split alike


IMAGENET_PREFIX = "imagenet-"
_MNIST, _IMAGENET = Limits(NUM_CLASSES, IMAGE_PX), Limits(1000, None)


class ShardEntry(NamedTuple):
    """What one written tar adds to the two tables."""

    samples: pa.Table  # MANIFEST_SCHEMA
    shard: pa.Table  # SHARDS_SCHEMA, one row


def write_tables(folder: Path, entries: Sequence[ShardEntry]) -> None:
    """Write shards.parquet and then manifest.parquet: a folder with a manifest is complete.

    Raises: InputError where there is no shard, or one is listed twice.
    """
    if not entries:
        raise InputError(f"{folder}: found no shards to list, expected at least one")
    shards = pa.concat_tables([entry.shard for entry in entries])
    samples = pa.concat_tables([entry.samples for entry in entries])
    for column in (shards["shard"], samples["key"]):
        if repeated := _first_repeated(column):
            raise InputError(f"{folder}: found {repeated} twice, expected every shard and every sample once")
    for name, table in ((SHARDS, shards), (MANIFEST, samples)):
        write_table(folder / name, table)


def _first_repeated(column: pa.ChunkedArray) -> str | None:
    counts = column.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    return str(repeated[0]["values"]) if len(repeated) else None


def read_manifest(folder: Path) -> pa.Table:
    """The manifest of a shard set, MANIFEST_SCHEMA. Raises: InputError where it is missing, torn or of another form."""
    path = folder / MANIFEST
    manifest = read_table(path, MANIFEST_SCHEMA, classes=(), remedy=REMEDY)
    num_classes = limits_of(manifest).num_classes
    check_classes(path, manifest, ("label", *FACTORS), num_classes=num_classes, remedy=REMEDY)
    return manifest


def read_shards(folder: Path) -> pa.Table:
    """The list of tars of a shard set, SHARDS_SCHEMA. Raises: InputError as `read_manifest` does."""
    return read_table(folder / SHARDS, SHARDS_SCHEMA, classes=(), remedy=REMEDY)


def limits_of(manifest: pa.Table) -> Limits:
    """What the images of a set may be, which its name says: those of ImageNet's generators begin with `imagenet-`."""
    return _IMAGENET if name_of(manifest).startswith(IMAGENET_PREFIX) else _MNIST


def name_of(manifest: pa.Table) -> str:
    """The name that a shard set was written under: what its keys start with; empty for an empty manifest."""
    first = manifest.slice(0, 1).to_pylist()
    return str(first[0]["key"]).rpartition(f"-{first[0]['split']}-")[0] if first else ""


def check_name(folder: Path, name: str) -> None:
    """See that a shard set was written under a name.

    Raises: InputError where it was not.
    """
    if (found := name_of(read_manifest(folder))) != name:
        raise InputError(f"{folder}: found images of {found}, expected those of {name}")


def splits_of(folder: Path) -> list[str]:
    """The names of a shard set's splits, in the manifest's order."""
    return list(dict.fromkeys(read_manifest(folder)["split"].to_pylist()))
