"""Writing shard sets: WebDataset tars whose bytes depend on their contents alone."""

import re
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool
from torch import Tensor

from cgn.contracts import Factors, Labels, Pixels
from cgn.errors import InputError
from cgn.files import replacing_file, replacing_folder, sha256
from cgn.schemas import MANIFEST_SCHEMA, SHARDS_SCHEMA
from cgn.shards.manifest import ShardEntry, write_tables

_MAX_NAME, _MAX_SPLIT = 60, 20  # a key with its suffix has to fit into the 100 bytes of a ustar header
BLOCK = 512  # a tar's unit: headers and padded contents
_PNG_LEVEL = 1  # zlib's fastest: images of 32 px gain little from more


class Batch(NamedTuple):
    """Images with everything that the manifest says of them."""

    pixels: Pixels
    labels: Labels
    factors: Factors
    low_contrast: Bool[Tensor, " batch"] | None  # None where it is not known


def write_shard_set(target: Path, *, name: str, seed: int, splits: Mapping[str, Batch], images_per_shard: int) -> None:
    """Write a whole shard set beside `target` and rename it there; an interrupted write leaves nothing under that name."""
    with replacing_folder(target) as folder:
        entries = []
        for split, batch in splits.items():
            for shard_index, first in enumerate(range(0, len(batch.labels), images_per_shard)):
                part = _rows(batch, first, first + images_per_shard)
                entries.append(
                    write_shard(
                        folder,
                        name=name,
                        split=split,
                        shard_index=shard_index,
                        first_index=first,
                        batch=part,
                        seed=seed,
                    )
                )
        write_tables(folder, entries)


def write_shard(
    folder: Path, *, name: str, split: str, shard_index: int, first_index: int, batch: Batch, seed: int
) -> ShardEntry:
    """Write one tar, `<name>-<split>-<shard_index>.tar`, with a PNG and a class file per image.

    A pure function of its arguments, safe to call from several processes for different shards of one folder.
    Raises: InputError for a name or split that could not be part of a key.
    """
    for what, value, limit in (("name", name, _MAX_NAME), ("split", split, _MAX_SPLIT)):
        if not re.fullmatch(rf"[a-z0-9_-]{{1,{limit}}}", value):
            raise InputError(f"shard {what}: found {value!r}, expected 1 to {limit} of a-z, 0-9, _ and -")
    file_name = f"{name}-{split}-{shard_index:06d}.tar"
    prefix = f"{name}-{split}-"
    images = batch.pixels.permute(0, 2, 3, 1).contiguous().numpy()
    labels = batch.labels.tolist()
    keys, offsets, sizes = [], [], []
    position = 0
    with replacing_file(folder / file_name) as beside:
        with beside.open("wb") as file:
            for row, (image, label) in enumerate(zip(images, labels, strict=True)):
                key = f"{prefix}{first_index + row:08d}"
                png = _encode(image)
                members = sample_bytes(key, png, label)
                file.write(members)
                keys.append(key)
                offsets.append(position + BLOCK)
                sizes.append(len(png))
                position += len(members)
            file.write(bytes(2 * BLOCK))
        shard = {"shard": file_name, "split": split, "sha256": sha256(beside), "bytes": beside.stat().st_size}
    count = len(keys)
    background = batch.factors.background.numpy()
    columns = {
        "key": keys,
        "split": [split] * count,
        "shard": [file_name] * count,
        "offset": offsets,
        "size": sizes,
        "label": labels,
        "shape": batch.factors.shape.numpy(),
        "texture": batch.factors.texture.numpy(),
        "background": pa.array(background, mask=background < 0),
        "low_contrast": [None] * count if batch.low_contrast is None else batch.low_contrast.numpy(),
        "seed": [seed] * count,
        "index": range(first_index, first_index + count),
    }
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in MANIFEST_SCHEMA]
    return ShardEntry(
        pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA),
        pa.Table.from_pylist([{**shard, "count": count}], schema=SHARDS_SCHEMA),
    )


def sample_bytes(key: str, png: bytes, label: int) -> bytes:
    """One sample as it stands in a tar: a header and the PNG, a header and the class, each padded to whole blocks."""
    return _member(f"{key}.png", png) + _member(f"{key}.cls", str(label).encode())


def _rows(batch: Batch, first: int, last: int) -> Batch:
    return Batch(
        batch.pixels[first:last],
        batch.labels[first:last],
        Factors(*(labels[first:last] for labels in batch.factors)),
        None if batch.low_contrast is None else batch.low_contrast[first:last],
    )


def _encode(image: np.ndarray) -> bytes:
    """An RGB PNG. Written here: Pillow tries five filters per row, which costs more than the compression itself."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # every row starts with its filter: 0, none
    rows[:, 1:] = image.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    pixels = zlib.compress(rows.tobytes(), _PNG_LEVEL)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _template() -> bytes:
    info = tarfile.TarInfo("x")
    info.mode, info.mtime = 0o644, 0
    return info.tobuf(tarfile.USTAR_FORMAT)


_HEADER = _template()


def _member(name: str, content: bytes) -> bytes:
    """One tar member. A patched ustar header: tarfile's own costs several times the encoding of a small image."""
    header = bytearray(_HEADER)
    encoded = name.encode()
    header[: len(encoded)] = encoded
    header[124:136] = b"%011o\0" % len(content)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % BLOCK)
