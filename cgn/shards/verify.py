"""Proof that a shard set is whole: tables, tars and their members agree."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cgn.errors import InputError
from cgn.shards.manifest import MANIFEST, REMEDY, SHARDS, read_manifest, read_shards
from cgn.shards.reader import checked_bytes


def verify_shard_set(folder: Path) -> int:
    """The number of samples of a shard set that is found whole.

    Raises: InputError, naming the file, for anything missing, additional, changed or contradictory.
    """
    manifest, shards = read_manifest(folder), read_shards(folder)
    listed, found = {*shards["shard"].to_pylist(), MANIFEST, SHARDS}, {path.name for path in folder.iterdir()}
    if listed != found:
        raise InputError(
            f"{folder}: found {_names(found - listed)} beyond what shards.parquet lists, and lacks "
            f"{_names(listed - found)}; {REMEDY}"
        )
    if pc.count_distinct(manifest["key"]).as_py() != manifest.num_rows:
        raise InputError(f"{folder}: manifest.parquet lists a key twice; {REMEDY}")
    if not manifest["label"].equals(manifest["shape"]):
        raise InputError(f"{folder}: manifest.parquet has labels that are not the class of the shape; {REMEDY}")
    for key, split, index in zip(*(manifest[name].to_pylist() for name in ("key", "split", "index")), strict=True):
        if not key.endswith(f"-{split}-{index:08d}"):
            raise InputError(f"{folder}: manifest.parquet gives {key} the index {index} of {split}; {REMEDY}")
    for shard in shards.to_pylist():
        _verify_members(folder / shard["shard"], shard, manifest.filter(pc.equal(manifest["shard"], shard["shard"])))
    if manifest["shard"].to_pylist() != [row["shard"] for row in shards.to_pylist() for _ in range(row["count"])]:
        raise InputError(f"{folder}: manifest.parquet and shards.parquet list the shards differently; {REMEDY}")
    return int(manifest.num_rows)


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _verify_members(path: Path, shard: dict[str, object], rows: pa.Table) -> None:
    content = checked_bytes(path, shard)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = tar.getmembers()
    except tarfile.TarError as error:
        raise InputError(f"{path} is not a tar ({error}); {REMEDY}") from error
    found = [
        (png.name, png.offset_data, png.size, cls.name, content[cls.offset_data : cls.offset_data + cls.size])
        for png, cls in zip(members[::2], members[1::2], strict=False)
    ]
    listed = [
        (f"{row['key']}.png", row["offset"], row["size"], f"{row['key']}.cls", str(row["label"]).encode())
        for row in rows.to_pylist()
    ]
    if found != listed or len(members) % 2 or set(rows["split"].to_pylist()) != {shard["split"]}:
        raise InputError(f"{path} holds other members than manifest.parquet lists; {REMEDY}")
    if len(listed) != shard["count"]:
        raise InputError(f"{path} holds {len(listed)} images, shards.parquet says {shard['count']}; {REMEDY}")
