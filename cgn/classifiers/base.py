"""What a learning rule is."""

from typing import Protocol, runtime_checkable

from torch import nn

from cgn.contracts import Images, Labels, Scalar


@runtime_checkable
class Method(Protocol):
    """A learning rule: the loss that one batch asks to be lowered."""

    def loss(self, network: nn.Module, images: Images, labels: Labels) -> Scalar:
        """The batch's loss."""
        ...
