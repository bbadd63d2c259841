"""Reading shard sets of which images stay where they are, encoded: those that are too large for the memory."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch

from cgn.encoded import Encoded, Samples
from cgn.errors import InputError
from cgn.shards.manifest import REMEDY, read_manifest, read_shards
from cgn.shards.reader import checked_bytes
from cgn.shards.writer import BLOCK, sample_bytes


class Members(Sequence[Encoded]):
    """Pictures in the tars of a folder."""

    def __init__(self, folder: Path, rows: pa.Table) -> None:
        names, self._numbers = _numbered(rows["shard"].to_pylist())
        self._paths = [folder / name for name in names]
        self._offsets, self._sizes = (torch.tensor(rows[name].to_pylist()) for name in ("offset", "size"))

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, place: int) -> Encoded:  # type: ignore[override]
        path = self._paths[int(self._numbers[place])]
        return Encoded(path, int(self._offsets[place]), int(self._sizes[place]))


def encoded_split(folder: Path, split: str) -> Samples:
    """One split of a shard set, in the manifest's order: where its PNGs lie, after every tar has been found to be the one that is
    listed and to hold what the manifest says; and the classes of shape, texture and background, -1 where there is none.

    Raises: InputError, naming the file, where a tar is not, or there is no such split.
    """
    manifest = read_manifest(folder)
    rows = manifest.filter(pc.equal(manifest["split"], split))
    if rows.num_rows == 0:
        known = ", ".join(dict.fromkeys(manifest["split"].to_pylist()))
        raise InputError(f"{folder} has no split {split!r}; its splits are: {known}")
    shards = read_shards(folder)
    for shard in shards.filter(pc.equal(shards["split"], split)).to_pylist():
        members = rows.filter(pc.equal(rows["shard"], shard["shard"]))
        content = memoryview(checked_bytes(folder / shard["shard"], shard))
        columns = (members[name].to_pylist() for name in ("key", "offset", "size", "label"))
        for key, offset, size, label in zip(*columns, strict=True):
            sample = sample_bytes(key, bytes(content[offset : offset + size]), label)
            if content[offset - BLOCK : offset - BLOCK + len(sample)] != sample:
                raise InputError(
                    f"{folder / shard['shard']} does not hold {key} with class {label} where the manifest says; {REMEDY}"
                )
    if unlisted := sorted(set(rows["shard"].to_pylist()) - set(shards["shard"].to_pylist())):
        raise InputError(f"{folder}: the manifest names {unlisted[0]}, which shards.parquet does not list; {REMEDY}")
    labels = [torch.tensor(pc.fill_null(rows[name], -1).to_pylist()) for name in ("shape", "texture", "background")]
    return Samples(Members(folder, rows), rows["key"].to_pylist(), torch.stack(labels, dim=1))


def _numbered(values: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The different values, and the number of every value among them."""
    different = list(dict.fromkeys(values))
    numbers = {value: number for number, value in enumerate(different)}
    return different, torch.tensor([numbers[value] for value in values], dtype=torch.int32)
