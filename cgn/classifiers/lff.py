"""Learning from failure."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.classifiers.base import Method, Setting, TrainingBatch
from cgn.config import LffConfig
from cgn.contracts import Labels, Scalar
from cgn.mnist import NUM_CLASSES
from cgn.models.classifiers import Cnn


class Lff(Method):
    """A second network is made to believe the shortcut; images that it fails on count more for the classifier.

    It needs images that contradict the shortcut: without any, all weights tend to be the same.

    Source: Nam et al. 2020, and their code. An image's difficulty is its cross entropy, averaged over the times it was seen
    with the factor `ema_decay`, over the largest of its class among all training images.
    """

    config: LffConfig
    biased_losses: Tensor
    losses: Tensor
    labels: Tensor
    seen: Tensor

    def __init__(self, config: LffConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.biased = Cnn()
        for name in ("biased_losses", "losses"):
            self.register_buffer(name, torch.zeros(setting.num_images))
        self.register_buffer("labels", torch.zeros(setting.num_images, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(setting.num_images, dtype=torch.bool))

    def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Scalar:  # noqa: ARG002
        """Generalised cross entropy of the biased network plus the classifier's weighted cross entropy."""
        biased_logits, logits = self.biased(batch.images).float(), network(batch.images).float()
        biased_losses, losses = (
            F.cross_entropy(scores, batch.labels, reduction="none") for scores in (biased_logits, logits)
        )
        self._remember(batch, biased_losses.detach(), losses.detach())
        biased_known, known = (
            relative_to_class(memory, self.labels, batch.rows) for memory in (self.biased_losses, self.losses)
        )
        weights = biased_known / (biased_known + known + 1e-8)
        generalised = generalised_cross_entropy(biased_logits, batch.labels, q=self.config.q)
        return generalised.mean() + (weights * losses).mean()

    def _remember(self, batch: TrainingBatch, biased_losses: Tensor, losses: Tensor) -> None:
        rows = batch.rows
        decay = torch.where(self.seen[rows], self.config.ema_decay, 0.0)
        for memory, new in ((self.biased_losses, biased_losses), (self.losses, losses)):
            memory[rows] = decay * memory[rows] + (1 - decay) * new
        self.labels[rows] = batch.labels
        self.seen[rows] = True


def generalised_cross_entropy(logits: Tensor, labels: Labels, *, q: float) -> Tensor:
    """(1 - p^q) / q of the label's probability p, (batch,): cross entropy as q goes to 0, 1 - p at q = 1.

    Its gradient is that of the cross entropy times p^q, so what is easy is learned first and stays.
    Source: Zhang & Sabuncu 2018.
    """
    log_probability = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    return (1 - (q * log_probability).exp()) / q  # p^q: its gradient is finite where p is too small to be told from 0


def relative_to_class(values: Tensor, labels: Labels, rows: Tensor) -> Tensor:
    """Those of (images,) non-negative values that stand in `rows`, each over the largest value of its class."""
    largest = values.new_zeros(NUM_CLASSES).scatter_reduce(0, labels, values, "amax")
    return values[rows] / (largest[labels[rows]] + 1e-8)
