"""Distributionally robust optimisation over groups."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.classifiers.base import Method, Setting, TrainingBatch, mean_per_source
from cgn.config import GroupDroConfig
from cgn.contracts import Scalar
from cgn.models.classifiers import Cnn


class GroupDro(Method):
    """Cross entropy of groups, weighted towards those where it is high. Groups are the sources of the mix.

    The weights grow by exponentiated gradient ascent. Source: Sagawa et al. 2020, algorithm 1.
    """

    config: GroupDroConfig
    weights: Tensor

    def __init__(self, config: GroupDroConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.register_buffer("weights", torch.full((setting.num_sources,), 1 / setting.num_sources))

    def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Scalar:  # noqa: ARG002
        """The weighted sum of the groups' mean cross entropies, after the weights have moved."""
        losses = F.cross_entropy(network(batch.images).float(), batch.labels, reduction="none")
        means, _ = mean_per_source(losses, batch.sources, self.setting.num_sources)
        grown = self.weights * (self.config.step_size * means.detach()).exp()
        self.weights.copy_(grown / grown.sum())
        return (self.weights * means).sum()
