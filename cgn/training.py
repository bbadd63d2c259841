"""What every training loop has in common: it can be stepped, looked at, stored and continued."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

Record = dict[str, float]
_Network = TypeVar("_Network", bound=nn.Module)


class Training(Protocol):
    """A training run. Its state after `load_state_dict(state_dict())` continues to the same weights, bit for bit."""

    step: int
    num_steps: int

    def records(self) -> Iterator[Record]:
        """Train on from `step`, yielding numbers now and then; the state is consistent at each of these moments."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier `state_dict`."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """What the checkpoint holds."""
        ...


def seeded(seed: int, build: Callable[[], _Network]) -> _Network:
    """The network that `build` makes, its initial weights drawn from the seed alone; global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
