"""Sets of ImageNet-9's mixes for tests, of samples that are given."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cgn.files import replacing_folder
from cgn.shards import write_tables
from cgn.shards.mixes import Sample, write_mix_shard


def write_mixes(
    target: Path, samples: Mapping[tuple[str, str], Sequence[Sample]], *, images_per_shard: int, seed: int
) -> None:
    """Write a whole shard set, its samples by part and variant, beside `target` and rename it there."""
    with replacing_folder(target) as folder:
        entries = [
            write_mix_shard(
                folder,
                part=part,
                variant=variant,
                shard_index=index,
                first_index=first,
                samples=some[first : first + images_per_shard],
                seed=seed,
            )
            for (part, variant), some in samples.items()
            for index, first in enumerate(range(0, len(some), images_per_shard))
        ]
        write_tables(folder, entries)
