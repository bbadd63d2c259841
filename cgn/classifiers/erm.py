"""Empirical risk minimisation."""

from torch import nn
from torch.nn import functional as F

from cgn.classifiers.base import Method
from cgn.contracts import Images, Labels, Scalar


class Erm(Method):
    """Mean cross entropy over the batch. Source: Vapnik 1992."""

    def loss(self, network: nn.Module, images: Images, labels: Labels) -> Scalar:
        """Cross entropy in nats."""
        return F.cross_entropy(network(images).float(), labels)
