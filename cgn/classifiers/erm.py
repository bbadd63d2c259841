"""Empirical risk minimisation."""

from torch.nn import functional as F

from cgn.classifiers.base import Method, TrainingBatch
from cgn.contracts import Scalar
from cgn.models.classifiers import Cnn


class Erm(Method):
    """Mean cross entropy over the batch. Source: Vapnik 1992."""

    def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Scalar:  # noqa: ARG002
        """Cross entropy in nats."""
        return F.cross_entropy(network(batch.images).float(), batch.labels)
