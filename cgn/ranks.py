"""Processes that train together: which rows of a batch are whose, and sums over all of them."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, distributed


class Ranks(NamedTuple):
    """A process's place among those that train together; with more than one, torch.distributed has been set up."""

    rank: int
    num: int

    def rows(self, size: int) -> range:
        """The rows of a batch that are this process's: neighbours, and in every process as many, give or take one."""
        return range(size * self.rank // self.num, size * (self.rank + 1) // self.num)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Put into every tensor its sum over all processes, each of which gives tensors of the same shapes in the same order."""
        if self.num > 1:
            for tensor in tensors:
                dense = tensor.contiguous()  # channels-last gradients are not, in torch's sense
                distributed.all_reduce(dense)
                tensor.copy_(dense)

    def all_have(self, number: int, device: torch.device) -> bool:
        """Whether every process calls this with the same number, which is not negative."""
        totals = torch.tensor([number, number**2], dtype=torch.float64, device=device)
        self.add_up([totals])
        # All are equal where the mean of their squares is the square of their mean.
        return bool(totals[1] * self.num == totals[0] ** 2)


ALONE = Ranks(0, 1)
