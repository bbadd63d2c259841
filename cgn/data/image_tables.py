"""Photographs in ImageNet's form, as a table: a folder per class, called after WordNet's number of it."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import torch
from pytorch_pretrained_biggan.utils import IMAGENET

from cgn.config import ImagesConfig
from cgn.data.imagenet_classes import NUM_CLASSES
from cgn.data.photographs import SUFFIXES
from cgn.encoded import Encoded, Samples
from cgn.errors import InputError
from cgn.files import sha256
from cgn.rng import stream
from cgn.schemas import check_classes, read_table, write_table

log = logging.getLogger(__name__)

IMAGES = "images.parquet"
PARTS = ("train", "val")
SEED = 0  # of the drawn share that is held out: data sets are frozen
_REMEDY = "run `dvc repro --force fetch_images`"

# ImageNet's number of a class, by WordNet's: n01440764 is 0.
WORDNET: Mapping[str, int] = {f"n{offset:08d}": number for offset, number in IMAGENET.items()}

# A row per photograph, ordered by (part, file).
IMAGES_SCHEMA = pa.schema(
    [
        pa.field("part", pa.string(), nullable=False),  # train or val
        pa.field("file", pa.string(), nullable=False),  # from the part's folder on, with /
        pa.field("class", pa.int16(), nullable=False),  # ImageNet's number
        pa.field("stem", pa.string(), nullable=False),  # the file's name without its suffix, once in a part
        pa.field("sha256", pa.string(), nullable=False),  # of the file
    ]
)


class _Photograph(NamedTuple):
    """A picture file in a part's folder."""

    file: str
    label: int

    @property
    def stem(self) -> str:
        return Path(self.file).stem


class Files(Sequence[Encoded]):
    """Listed picture files in a folder, by their paths from there on and their SHA-256; millions of them take little memory."""

    def __init__(self, folder: Path, files: pa.StringArray, digests: pa.StringArray) -> None:
        self.folder, self.files, self.digests = folder, files, digests

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Encoded:  # type: ignore[override]
        return Encoded(self.folder / self.files[place].as_py(), sha256=self.digests[place].as_py())


def list_images(folder: Path, config: ImagesConfig) -> pa.Table:
    """The photographs of both parts, IMAGES_SCHEMA. `folder` is where drawn images lie; those of folders lie where `config` says.

    A share of one folder is drawn per class over sorted names; a class of two photographs or more has some in either part. What lies
    in class folders and is no picture by its suffix is counted in the log, and so are photographs of train that are val's too, byte for
    byte, and are left out of train.
    Raises: InputError where a folder is missing, has no photographs, has folders that are not called after one of ImageNet's classes,
    or holds two photographs of one name.
    """
    if config.val_share is None:
        parts = {part: _photographs(part_folder(folder, config, part)) for part in PARTS}
    else:
        parts = _divided(_photographs(part_folder(folder, config, "train")), config.val_share)
    listed = {
        part: _listed(part_folder(folder, config, part), part, photographs) for part, photographs in parts.items()
    }
    listed["train"] = _without_held_out(listed["train"], listed["val"])
    rows = [
        {"part": part, "file": one.file, "class": one.label, "stem": one.stem, "sha256": digest}
        for part, of_part in listed.items()
        for one, digest in of_part.items()
    ]
    return pa.Table.from_pylist(rows, schema=IMAGES_SCHEMA)


def _listed(base: Path, part: str, photographs: Sequence[_Photograph]) -> dict[_Photograph, str]:
    """The SHA-256 of the photographs of a part."""
    if not photographs:
        raise InputError(f"{base}: found no photograph for {part}, expected some; add photographs, or change val_share")
    _each_name_once(base, photographs)
    return dict(zip(photographs, _digests([base / one.file for one in photographs]), strict=True))


def _without_held_out(train: Mapping[_Photograph, str], val: Mapping[_Photograph, str]) -> dict[_Photograph, str]:
    """Train's photographs without those that are val's too, byte for byte: what is measured on must not be learned from."""
    held_out = {digest: one for one, digest in val.items()}
    shared = [(one, held_out[digest]) for one, digest in train.items() if digest in held_out]
    if not shared:
        return dict(train)
    said = f"{len(shared)} of train's {len(train)} photographs are val's too, such as {shared[0][0].file} and {shared[0][1].file}"
    if len(shared) == len(train):
        raise InputError(
            f"found that {said}; expected other photographs in val, which measures what was learned from train"
        )
    log.warning("left out of train: %s", said)
    return {one: digest for one, digest in train.items() if digest not in held_out}


def write_images(folder: Path, table: pa.Table) -> None:
    """Write `folder`/images.parquet."""
    write_table(folder / IMAGES, table)


def read_table_of(folder: Path, part: str) -> pa.Table:
    """The rows of a part of `folder`/images.parquet, which fetch_images wrote.

    Raises: InputError where the table is missing, damaged, of another form or has no such part.
    """
    table = read_table(folder / IMAGES, IMAGES_SCHEMA, classes=(), remedy=_REMEDY)
    check_classes(folder / IMAGES, table, ("class",), num_classes=NUM_CLASSES, remedy=_REMEDY)
    rows = table.filter(pc.equal(table["part"], part))
    if rows.num_rows == 0:
        raise InputError(f"{folder / IMAGES}: found no part {part!r}, expected {' and '.join(PARTS)}; {_REMEDY}")
    return rows


def part_folder(folder: Path, config: ImagesConfig, part: str) -> Path:
    """What the files of a part lie in; `folder` is fetch_images's output."""
    if config.source == "drawn":
        return folder / part
    chosen = config.train if part == "train" or config.val is None else config.val
    return Path(str(chosen))


def read_images(folder: Path, config: ImagesConfig, part: str) -> Samples:
    """The photographs of a part that fetch_images listed in `folder`, in the list's order, each with its class three times.

    In a photograph shape, texture and background are those of its class.
    Raises: InputError as `read_table_of` does.
    """
    rows = read_table_of(folder, part)
    labels = torch.tensor(rows["class"].to_pylist(), dtype=torch.long)
    files = Files(part_folder(folder, config, part), rows["file"].combine_chunks(), rows["sha256"].combine_chunks())
    return Samples(files, rows["stem"].to_pylist(), labels[:, None].expand(-1, 3).contiguous())


def _photographs(folder: Path) -> list[_Photograph]:
    """The photographs in the folders of classes, in the order of their paths."""
    if not folder.is_dir():
        raise InputError(f"{folder}: found no folder, expected one of photographs in folders such as n01440764")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise InputError(
            f"{folder}: found no folders of classes, expected some, such as n01440764; sort the photographs into them"
        )
    if strange := [path.name for path in classes if path.name not in WORDNET]:
        shown = ", ".join(strange[:10]) + (f" and {len(strange) - 10} more" if len(strange) > 10 else "")
        raise InputError(
            f"{folder}: found the folders {shown}, expected WordNet's numbers of ImageNet's classes, such as n01440764; "
            "rename them or move them away"
        )
    others: Counter[str] = Counter()
    photographs = []
    for path in classes:
        for file in sorted(path.rglob("*")):
            if file.is_dir() or file.name.startswith("."):
                continue
            if not file.is_file():
                others["links to nothing"] += 1
            elif file.suffix.lower() in SUFFIXES:
                photographs.append(_Photograph(file.relative_to(folder).as_posix(), WORDNET[path.name]))
            else:
                others[file.suffix or "without a suffix"] += 1
    if others:
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        log.info("%s: left out %d files that are no pictures (%s)", folder, others.total(), found)
    return sorted(photographs)


def _digests(paths: Sequence[Path]) -> list[str]:
    """The SHA-256 of files, some at a time: millions that wait would fill the memory."""
    found: list[str] = []
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(paths), 10_000):
            found += pool.map(sha256, paths[first : first + 10_000])
    return found


def _divided(photographs: Sequence[_Photograph], val_share: float) -> dict[str, list[_Photograph]]:
    """Photographs by part, a share of every class held out."""
    by_class: dict[int, list[_Photograph]] = {}
    for one in photographs:
        by_class.setdefault(one.label, []).append(one)
    held_out = set()
    for name, label in WORDNET.items():
        members = by_class.get(label, [])
        if len(members) < 2:
            continue
        num = min(max(round(val_share * len(members)), 1), len(members) - 1)
        order = torch.randperm(len(members), generator=stream(SEED, "val_share", name)).tolist()
        held_out |= {members[place] for place in order[:num]}
    return {
        "train": [one for one in photographs if one not in held_out],
        "val": [one for one in photographs if one in held_out],
    }


def _each_name_once(folder: Path, photographs: Iterable[_Photograph]) -> None:
    seen: dict[str, str] = {}
    for one in photographs:
        if (first := seen.setdefault(one.stem, one.file)) != one.file:
            raise InputError(
                f"{folder}: found two photographs called {one.stem!r}, {first} and {one.file}, expected every name once; "
                "rename one of them"
            )
