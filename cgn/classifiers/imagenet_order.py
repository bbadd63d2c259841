"""Which images a step of training shows: sources in their shares, every source in shuffled passes."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from cgn.errors import InputError
from cgn.rng import stream


class Place(NamedTuple):
    """An image of a training."""

    source: int  # number of the source
    row: int  # in the source
    passes: int  # how many times the source has been gone through before


class ImageOrder:
    """An endless row of images from several sources, in blocks.

    In every block a source has its share of the images to within one, in random places; a source's images come in shuffled
    passes without replacement, which go on from block to block. A function of its arguments: nothing has to be stored.
    """

    def __init__(
        self, sizes: Mapping[str, int], weights: Mapping[str, float], *, block: int, seed: int, name: str
    ) -> None:
        """`sizes` are the sources' by their names, `block` the images of a block.

        Raises: InputError where a source has no images, or a weight for which a block has none.
        """
        self.names, self.sizes, self.block, self.address = (
            list(sizes),
            list(sizes.values()),
            block,
            (seed, "order", name),
        )
        if empty := [source for source, size in sizes.items() if size == 0]:
            raise InputError(f"mix.{empty[0]}: found no images, expected some")
        shares = torch.tensor([weights[source] for source in sizes], dtype=torch.float64)
        ends = (shares.cumsum(0) / shares.sum() * block).round().long()
        self.counts: list[int] = ends.diff(prepend=ends.new_zeros(1)).tolist()
        if scarce := [source for source, count in zip(sizes, self.counts, strict=True) if count == 0]:
            raise InputError(
                f"mix.{scarce[0]}: found weight {weights[scarce[0]]}, by which none of an epoch's {block} images is of it, expected more"
            )
        self._cached: tuple[int, Tensor] | None = None

    def places(self, start: int, stop: int) -> list[Place]:
        """The images from the number `start` to before `stop`."""
        found: list[Place] = []
        while start < stop:
            number, first = divmod(start, self.block)
            last = min(self.block, first + stop - start)
            found += [Place(*row) for row in self._block(number)[first:last].tolist()]
            start += last - first
        return found

    def counts_before(self, stop: int) -> dict[str, int]:
        """How many of the first `stop` images are of every source."""
        blocks = stop // self.block
        tail = [place.source for place in self.places(blocks * self.block, stop)]
        return {name: blocks * self.counts[number] + tail.count(number) for number, name in enumerate(self.names)}

    def _block(self, number: int) -> Tensor:
        """Source, row and passes of a block's images: int64 (block, 3)."""
        if self._cached is None or self._cached[0] != number:
            parts = []
            for source, (name, size, count) in enumerate(zip(self.names, self.sizes, self.counts, strict=True)):
                positions = torch.arange(number * count, (number + 1) * count)
                passes, within = positions // size, positions % size
                rows = torch.empty(count, dtype=torch.long)
                for one in passes.unique().tolist():
                    shuffled = torch.randperm(size, generator=stream(*self.address, name, one))
                    rows[passes == one] = shuffled[within[passes == one]]
                parts.append(torch.stack([torch.full((count,), source), rows, passes], dim=1))
            mixing = torch.randperm(self.block, generator=stream(*self.address, "mix", number))
            self._cached = (number, torch.cat(parts)[mixing])
        return self._cached[1]
