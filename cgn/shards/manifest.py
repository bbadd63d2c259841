"""The two tables of a shard set: manifest.parquet (a row per sample) and shards.parquet (a row per tar)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cgn.contracts import FACTORS, MANIFEST_SCHEMA, SHARDS_SCHEMA
from cgn.errors import InputError
from cgn.files import replacing_file
from cgn.mnist import NUM_CLASSES

MANIFEST, SHARDS = "manifest.parquet", "shards.parquet"
REMEDY = "delete the folder and run `dvc repro`, or `dvc pull` it again"


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
        with replacing_file(folder / name) as beside:
            pq.write_table(table, beside, compression="zstd", write_page_checksum=True)


def _first_repeated(column: pa.ChunkedArray) -> str | None:
    counts = column.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    return str(repeated[0]["values"]) if len(repeated) else None


def read_manifest(folder: Path) -> pa.Table:
    """The manifest of a shard set, MANIFEST_SCHEMA. Raises: InputError where it is missing, torn or of another form."""
    manifest = _read(folder / MANIFEST, MANIFEST_SCHEMA)
    for name in ("label", *FACTORS):
        limits = pc.min_max(manifest[name]).as_py()
        if limits["min"] is not None and not 0 <= limits["min"] <= limits["max"] < NUM_CLASSES:
            raise InputError(
                f"{folder / MANIFEST} has {name} classes from {limits['min']} to {limits['max']}, "
                f"expected 0 to {NUM_CLASSES - 1}; {REMEDY}"
            )
    return manifest


def read_shards(folder: Path) -> pa.Table:
    """The list of tars of a shard set, SHARDS_SCHEMA. Raises: InputError as `read_manifest` does."""
    return _read(folder / SHARDS, SHARDS_SCHEMA)


def splits_of(folder: Path) -> list[str]:
    """The names of a shard set's splits, in the manifest's order."""
    return list(dict.fromkeys(read_manifest(folder)["split"].to_pylist()))


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path} is missing, so the shard set is not complete; {REMEDY}")
    try:
        # Without partitioning=None folders like seed=0 would become columns.
        table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}); {REMEDY}") from error
    if not table.schema.equals(schema):
        found, expected = (set(str(columns).splitlines()) for columns in (table.schema, schema))
        differing = "; ".join(sorted(found - expected)) or "no other column"
        lacking = "; ".join(sorted(expected - found)) or "another order"
        raise InputError(f"{path}: found {differing}, expected {lacking}; {REMEDY}")
    return table
