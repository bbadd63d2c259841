"""Invariant risk minimisation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.classifiers.base import Method, TrainingBatch
from cgn.config import IrmConfig
from cgn.contracts import Labels, Scalar
from cgn.models.classifiers import Cnn


class Irm(Method):
    """Cross entropy, and a penalty where a factor on the logits would lower it in one environment: IRMv1.

    Environments are the sources of the mix. The penalty's weight is 1 until `anneal_share` of the steps and
    `penalty_weight` from then on, where the whole is divided by it.

    Source: Arjovsky et al. 2019: the squared gradient over each environment's part of the batch. The product of the
    gradients of its two halves, without bias (Gulrajani & Lopez-Paz 2021), is mostly noise in batches of 64, and
    classifiers stop fitting their own environments.
    """

    config: IrmConfig

    def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Scalar:
        """Mean risk of the environments present, plus their mean weighted penalty."""
        logits = network(batch.images).float()
        risks, penalties = [], []
        for source in range(self.setting.num_sources):
            own = batch.sources == source
            own_logits, own_labels = logits[own], batch.labels[own]
            if len(own_labels) == 0:
                continue
            risks.append(F.cross_entropy(own_logits, own_labels))
            penalties.append(scale_gradient(own_logits, own_labels) ** 2)
        weight = self.config.penalty_weight if progress >= self.config.anneal_share else 1.0
        return (torch.stack(risks).mean() + weight * torch.stack(penalties).mean()) / max(1.0, weight)


def scale_gradient(logits: Tensor, labels: Labels) -> Scalar:
    """The derivative of the mean cross entropy with respect to a factor on the logits (batch, classes), at 1.

    In closed form: the mean over images of what the softmax expects of the logits minus the label's own.
    """
    expected = (logits.softmax(1) * logits).sum(1)
    return (expected - logits.gather(1, labels[:, None])[:, 0]).mean()
