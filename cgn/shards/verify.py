"""Proof that a shard set is whole: tables, tars and their members agree."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cgn.contracts import FACTORS, NUM_CLASSES
from cgn.shards.manifest import REMEDY, read_manifest, read_shards
from cgn.shards.reader import checked_bytes


def verify_shard_set(folder: Path) -> int:
    """The number of samples of a shard set that is found whole.

    Raises: ValueError, naming the file, for anything missing, additional, changed or contradictory.
    """
    manifest, shards = read_manifest(folder), read_shards(folder)
    listed, found = shards["shard"].to_pylist(), sorted(path.name for path in folder.glob("*.tar"))
    if sorted(listed) != found:
        raise ValueError(f"{folder}: shards.parquet lists {sorted(listed)}, the folder holds {found}; {REMEDY}")
    if set(manifest["shard"].to_pylist()) != set(listed):
        raise ValueError(f"{folder}: manifest.parquet and shards.parquet name different shards; {REMEDY}")
    if pc.count_distinct(manifest["key"]).as_py() != manifest.num_rows:
        raise ValueError(f"{folder}: manifest.parquet lists a key twice; {REMEDY}")
    for name in ("label", *FACTORS):
        limits = pc.min_max(manifest[name]).as_py()
        if limits["min"] is not None and not 0 <= limits["min"] <= limits["max"] < NUM_CLASSES:
            raise ValueError(
                f"{folder}: manifest.parquet has the {name} classes {limits}, expected 0 to {NUM_CLASSES - 1}"
            )
    for shard in shards.to_pylist():
        _verify_members(folder / shard["shard"], shard, manifest.filter(pc.equal(manifest["shard"], shard["shard"])))
    return int(manifest.num_rows)


def _verify_members(path: Path, shard: dict[str, object], rows: pa.Table) -> None:
    with tarfile.open(fileobj=io.BytesIO(checked_bytes(path, shard))) as tar:
        members = tar.getmembers()
    found = [(member.name, member.offset_data, member.size) for member in members if member.name.endswith(".png")]
    listed = list(
        zip(
            (f"{key}.png" for key in rows["key"].to_pylist()),
            rows["offset"].to_pylist(),
            rows["size"].to_pylist(),
            strict=True,
        )
    )
    classes = [member.name for member in members if member.name.endswith(".cls")]
    if (
        found != listed
        or len(members) != 2 * len(listed)
        or classes != [f"{key}.cls" for key in rows["key"].to_pylist()]
    ):
        raise ValueError(f"{path} holds other members than manifest.parquet lists; {REMEDY}")
    if len(listed) != shard["count"]:
        raise ValueError(f"{path} holds {len(listed)} images, shards.parquet says {shard['count']}; {REMEDY}")
