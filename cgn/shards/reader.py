"""Reading shard sets: whole splits into memory, every tar checked before a pixel of it is used."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from cgn.contracts import Factors
from cgn.errors import InputError
from cgn.pictures import open_picture
from cgn.shards.manifest import REMEDY, limits_of, read_manifest, read_shards
from cgn.shards.writer import BLOCK, Batch, sample_bytes


def read_split(folder: Path, split: str, *, at_most: int | None = None) -> Batch:
    """One split of a shard set, decoded: uint8 pixels and what the manifest says, in the manifest's order. With `at_most`, its
    first images alone; shards behind them are not read.

    Raises: InputError, naming the shard, where a tar is missing, is not the one that the set lists, or holds another
    image or label than the manifest says; ValueError where `at_most` is below one.
    """
    if at_most is not None and at_most < 1:
        raise ValueError(f"at_most: found {at_most}, expected at least 1")
    manifest = read_manifest(folder)
    rows = manifest.filter(pc.equal(manifest["split"], split))
    if rows.num_rows == 0:
        known = ", ".join(dict.fromkeys(manifest["split"].to_pylist()))
        raise InputError(f"{folder} has no split {split!r}; its splits are: {known}")
    of_split, rows = rows, rows.slice(0, at_most)
    size_px = limits_of(manifest).size_px
    images: list[np.ndarray] = []
    read = rows.slice(0, 0)
    shards = read_shards(folder)
    for shard in shards.filter(pc.equal(shards["split"], split)).to_pylist():
        if at_most is not None and read.num_rows >= at_most:
            break
        members = of_split.filter(pc.equal(of_split["shard"], shard["shard"]))
        some = members.slice(0, None if at_most is None else at_most - read.num_rows)
        decoded = _decode_shard(folder / shard["shard"], shard, members, some, size_px=size_px)
        size_px = decoded[0].shape[0] if decoded else size_px
        images.extend(decoded)
        read = pa.concat_tables([read, some])
    if not read.equals(rows):
        raise InputError(f"{folder}: manifest.parquet and shards.parquet list {split} in different orders; {REMEDY}")
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    labels = {name: _labels(rows[name]) for name in ("label", "shape", "texture", "background")}
    factors = Factors(labels["shape"], labels["texture"], labels["background"])
    known = rows["low_contrast"].null_count == 0
    low_contrast = torch.tensor(rows["low_contrast"].to_pylist(), dtype=torch.bool) if known else None
    return Batch(pixels, labels["label"], factors, low_contrast)


def checked_bytes(path: Path, shard: dict[str, object]) -> bytes:
    """The contents of a tar, after its length and SHA-256 have been held against shards.parquet's row."""
    if not path.is_file():
        raise InputError(f"{path} is missing; {REMEDY}")
    content = path.read_bytes()
    if len(content) != shard["bytes"]:
        raise InputError(
            f"{path} is truncated or changed: found {len(content)} bytes, expected {shard['bytes']}; {REMEDY}"
        )
    if hashlib.sha256(content).hexdigest() != shard["sha256"]:
        raise InputError(f"{path} is not the file that shards.parquet lists: its SHA-256 differs; {REMEDY}")
    return content


def _decode_shard(
    path: Path, shard: dict[str, object], members: pa.Table, some: pa.Table, *, size_px: int | None
) -> list[np.ndarray]:
    """The images of some of a shard's members, squares of `size_px` or, where that is None, of the first one's size."""
    content = memoryview(checked_bytes(path, shard))
    if members.num_rows != shard["count"]:
        raise InputError(
            f"{path} holds {shard['count']} images, the manifest lists {members.num_rows} of them; {REMEDY}"
        )
    columns = (some[name].to_pylist() for name in ("key", "offset", "size", "label"))
    images = []
    for key, offset, size, label in zip(*columns, strict=True):
        png = bytes(content[offset : offset + size])
        sample = sample_bytes(key, png, label)
        if content[offset - BLOCK : offset - BLOCK + len(sample)] != sample:
            raise InputError(f"{path} does not hold {key} with class {label} where the manifest says; {REMEDY}")
        images.append(_decode(png, f"{path}: {key}", size_px))
        size_px = images[0].shape[0]
    return images


def _decode(content: bytes, what: str, size_px: int | None) -> np.ndarray:
    image = open_picture(content, formats=["PNG"], what=what, remedy=REMEDY)
    side = size_px or image.size[0]
    if image.mode != "RGB" or image.size != (side, side):
        raise InputError(
            f"{what}: found a {image.mode} image of {image.size} px, expected RGB of {side} px a side; {REMEDY}"
        )
    return np.asarray(image)


def _labels(column: pa.ChunkedArray) -> torch.Tensor:
    return torch.from_numpy(column.combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64))
