"""Shard sets of ImageNet-9: JPEGs of natural size in tars, with a manifest that names both images of every mix.

The form is that of the other shard sets (tars, manifest.parquet with a row per sample, shards.parquet with a row per tar) with other
columns. `webdataset` reads the tars: `<key>.jpg` or, of masks, `<key>.png`, and the class of ImageNet-9 in `<key>.cls`.
"""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from cgn.encoded import Encoded, Samples
from cgn.errors import InputError
from cgn.files import replacing_file, sha256
from cgn.schemas import SHARDS_SCHEMA, check_classes, read_table
from cgn.shards.manifest import MANIFEST, REMEDY, SHARDS, ShardEntry, read_shards
from cgn.shards.reader import checked_bytes
from cgn.shards.writer import BLOCK

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
LEFT_OUT = "left_out.csv"  # images that the set was not made of, with reasons; of no use to readers
NAME = "in9"
NUM_LABELS = 9
NUM_CLASSES = 1000


class Sample(NamedTuple):
    """An encoded picture with everything that the manifest says of it."""

    picture: bytes  # a JPEG; of a mask, a PNG
    label: int
    foreground_class: int
    foreground_image: str
    background_class: int | None
    background_image: str | None


def write_mix_shard(
    folder: Path, *, part: str, variant: str, shard_index: int, first_index: int, samples: Sequence[Sample], seed: int
) -> ShardEntry:
    """Write one tar, `in9-<part>-<variant>-<shard_index>.tar`: per sample a picture as it is given, and its class.

    A pure function of its arguments, safe to call from several processes for different shards of one folder.
    """
    split = f"{part}-{variant}"
    file_name = f"{NAME}-{split}-{shard_index:06d}.tar"
    rows = []
    position = 0
    with replacing_file(folder / file_name) as beside:
        with beside.open("wb") as file:
            for index, sample in enumerate(samples, start=first_index):
                key = f"{NAME}-{split}-{index:08d}"
                members = sample_bytes(key, variant, sample.picture, sample.label)
                file.write(members)
                place = {"shard": file_name, "offset": position + BLOCK, "size": len(sample.picture)}
                rows.append(
                    {
                        "key": key,
                        "part": part,
                        "variant": variant,
                        "index": index,
                        "seed": seed,
                        **place,
                        **sample._asdict(),
                    }
                )
                position += len(members)
            file.write(bytes(2 * BLOCK))
        shard = {"shard": file_name, "split": split, "sha256": sha256(beside), "bytes": beside.stat().st_size}
    return ShardEntry(
        pa.Table.from_pylist(rows, schema=MIXES_SCHEMA),
        pa.Table.from_pylist([{**shard, "count": len(rows)}], schema=SHARDS_SCHEMA),
    )


def sample_bytes(key: str, variant: str, picture: bytes, label: int) -> bytes:
    """One sample as it stands in a tar: a header and the picture, a header and the class, each padded to whole blocks."""
    suffix = "png" if variant == FG_MASK else "jpg"
    return _member(f"{key}.{suffix}", picture) + _member(f"{key}.cls", str(label).encode())


def is_mixes(folder: Path) -> bool:
    """Whether a folder's manifest has the columns of mixes, and not those of other shard sets."""
    try:
        return "variant" in pq.read_schema(folder / MANIFEST).names
    except (pa.ArrowException, OSError):
        return False


def read_mix_manifest(folder: Path) -> pa.Table:
    """The manifest of a set of mixes, MIXES_SCHEMA.

    Raises: InputError where it is missing, torn, of another form, or has classes that there are not.
    """
    path = folder / MANIFEST
    manifest = read_table(path, MIXES_SCHEMA, classes=(), remedy=REMEDY)
    check_classes(path, manifest, ("label",), num_classes=NUM_LABELS, remedy=REMEDY)
    check_classes(path, manifest, ("foreground_class", "background_class"), num_classes=NUM_CLASSES, remedy=REMEDY)
    return manifest


def foreground_images(manifest: pa.Table, part: str, variant: str) -> list[str]:
    """Whose objects the pictures of a variant show, or what is left of which images, in the manifest's order; tars are not read."""
    rows = manifest.filter(pc.and_(pc.equal(manifest["part"], part), pc.equal(manifest["variant"], variant)))
    names: list[str] = rows["foreground_image"].to_pylist()
    return names


def read_mixes(folder: Path, part: str, variant: str) -> pa.Table:
    """The manifest's rows of a variant, in order, after its tars have been found to hold what they say.

    Raises: InputError, naming the file, where there is no such variant, or a tar is missing, is not the one that the set lists, or
    holds another picture or class than the manifest says.
    """
    return _whole(folder, read_mix_manifest(folder), read_shards(folder), part, variant)


def mix_samples(folder: Path, part: str, variant: str) -> Samples:
    """The pictures of a variant, in the manifest's order, where they lie in its tars, which are checked as `read_mixes` does.

    Shape and texture are of the foreground's class; the background is of its own image's class, or -1 where there is none.
    Raises: InputError likewise.
    """
    rows = read_mixes(folder, part, variant)
    columns = (rows[name].to_pylist() for name in ("shard", "offset", "size"))
    images = [Encoded(folder / shard, offset, size) for shard, offset, size in zip(*columns, strict=True)]
    foreground = torch.tensor(rows["foreground_class"].to_pylist())
    background = torch.tensor(pc.fill_null(rows["background_class"], -1).to_pylist())
    return Samples(images, rows["key"].to_pylist(), torch.stack([foreground, foreground, background], dim=1))


def verify_mixes(folder: Path) -> int:
    """The number of pictures of a set of mixes that is found whole.

    Raises: InputError, naming the file, for anything missing, additional, changed or contradictory.
    """
    manifest, shards = read_mix_manifest(folder), read_shards(folder)
    listed = {*shards["shard"].to_pylist(), MANIFEST, SHARDS}
    found = {path.name for path in folder.iterdir()} - {LEFT_OUT}
    if listed != found:
        beyond, lacking = (", ".join(sorted(names)) or "nothing" for names in (found - listed, listed - found))
        raise InputError(f"{folder}: found {beyond} beyond what shards.parquet lists, and lacks {lacking}; {REMEDY}")
    variants = list(dict.fromkeys(zip(manifest["part"].to_pylist(), manifest["variant"].to_pylist(), strict=True)))
    if [f"{part}-{variant}" for part, variant in variants] != list(dict.fromkeys(shards["split"].to_pylist())):
        raise InputError(f"{folder}: manifest.parquet and shards.parquet list other variants; {REMEDY}")
    if sum(_whole(folder, manifest, shards, part, variant).num_rows for part, variant in variants) != manifest.num_rows:
        raise InputError(f"{folder}: manifest.parquet lists variants in pieces; {REMEDY}")
    return int(manifest.num_rows)


def _whole(folder: Path, manifest: pa.Table, shards: pa.Table, part: str, variant: str) -> pa.Table:
    rows = manifest.filter(pc.and_(pc.equal(manifest["part"], part), pc.equal(manifest["variant"], variant)))
    if rows.num_rows == 0:
        pairs = zip(manifest["part"].to_pylist(), manifest["variant"].to_pylist(), strict=True)
        known = ", ".join(f"{one} {other}" for one, other in dict.fromkeys(pairs))
        raise InputError(f"{folder}: found no {part} {variant}, expected one of: {known}")
    if rows["index"].to_pylist() != list(range(rows.num_rows)):
        raise InputError(f"{folder}: manifest.parquet does not number {part} {variant} one after another; {REMEDY}")
    of_variant = shards.filter(pc.equal(shards["split"], f"{part}-{variant}")).to_pylist()
    if rows["shard"].to_pylist() != [shard["shard"] for shard in of_variant for _ in range(shard["count"])]:
        raise InputError(
            f"{folder}: manifest.parquet and shards.parquet list other shards of {part} {variant}; {REMEDY}"
        )
    first = 0
    for shard in of_variant:
        _check_members(folder / shard["shard"], shard, rows.slice(first, shard["count"]))
        first += shard["count"]
    return rows


def _check_members(path: Path, shard: Mapping[str, object], rows: pa.Table) -> None:
    """See that a tar is the one that is listed, and that it is made of the members that the manifest says and nothing else."""
    content = memoryview(checked_bytes(path, dict(shard)))
    position = 0
    columns = (rows[name].to_pylist() for name in ("key", "variant", "offset", "size", "label"))
    for key, variant, offset, size, label in zip(*columns, strict=True):
        members = sample_bytes(key, variant, bytes(content[offset : offset + size]), label)
        if offset != position + BLOCK or content[position : position + len(members)] != members:
            raise InputError(f"{path} does not hold {key} with class {label} where the manifest says; {REMEDY}")
        position += len(members)
    if content[position:] != bytes(2 * BLOCK):
        raise InputError(f"{path} holds more than the manifest lists; {REMEDY}")


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o644, 0
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)
