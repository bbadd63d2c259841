"""What a learning rule is."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from cgn.config import MethodConfig
from cgn.contracts import Images, Labels, Scalar
from cgn.models.classifiers import Cnn


class TrainingBatch(NamedTuple):
    """What a learning rule sees of some images: no factor, whatever the images are."""

    images: Images
    labels: Labels
    sources: Tensor  # int64 (batch,): number of the split of the mix that each image is from, in the mix's order
    rows: Tensor  # int64 (batch,): number of each image among all training images


class Setting(NamedTuple):
    """What a learning rule is told of its training images in advance."""

    num_sources: int
    num_images: int


class Method(nn.Module, ABC):
    """A learning rule: the loss that one batch asks to be lowered.

    Networks that a rule needs beside the classifier are its submodules, trained with it and thrown away; what it
    remembers from batch to batch are its buffers.
    """

    def __init__(self, config: MethodConfig, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting

    @abstractmethod
    def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Scalar:
        """The batch's loss, once per step; `progress` is the share of the steps already taken."""


def mean_per_source(values: Tensor, sources: Tensor, num_sources: int) -> tuple[Tensor, Tensor]:
    """The mean of (batch,) values over each source, 0 for a source without any, and how many it has; both (num_sources,)."""
    counts = sources.bincount(minlength=num_sources)
    sums = values.new_zeros(num_sources).index_add(0, sources, values)
    return sums / counts.clamp(min=1), counts
