"""Learning not to learn: colours are unlearned against an adversary."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cgn.classifiers.base import Method, Setting, TrainingBatch
from cgn.config import LntlConfig
from cgn.contracts import Images, Scalar
from cgn.models.classifiers import MAP_CHANNELS, MAP_PX, Cnn

LEVELS = 8  # of each colour channel
_BLACK = -100  # cross entropy leaves such targets out


class Lntl(Method):
    """A head reads the image's colours off the classifier's maps, and the maps learn to hide them.

    The bias labels are the colours themselves, in eight levels per channel and taken from the image, so no column of
    the data set is used. Source: Kim et al. 2019; black is left out as in their code.

    # Differs from the source: one step updates classifier and head together, and colours are compared on the maps'
    grid of 8 x 8 places.
    """

    config: LntlConfig

    def __init__(self, config: LntlConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.head = nn.Sequential(
            nn.Conv2d(MAP_CHANNELS, MAP_CHANNELS, 1), nn.ReLU(inplace=True), nn.Conv2d(MAP_CHANNELS, 3 * LEVELS, 1)
        )

    def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Scalar:  # noqa: ARG002
        """Cross entropy, minus the entropy of the head's answers, plus the head's loss behind a reversed gradient."""
        maps = network.maps(batch.images)
        classes = F.cross_entropy(network.classify(maps).float(), batch.labels)
        frozen = {name: weight.detach() for name, weight in self.head.named_parameters()}
        answers: Tensor = functional_call(self.head, frozen, (maps,)).float().unflatten(1, (3, LEVELS)).log_softmax(2)
        entropy = -(answers.exp() * answers).sum(2).mean()
        reversed_maps: Tensor = _Reversed.apply(maps, self.config.reversal)
        scores = self.head(reversed_maps).float().unflatten(1, (3, LEVELS)).transpose(1, 2)
        levels = colour_levels(batch.images)
        coloured = (levels != _BLACK).sum().clamp(min=1)
        return (
            classes - self.config.entropy_weight * entropy + F.cross_entropy(scores, levels, reduction="sum") / coloured
        )


def colour_levels(images: Images) -> Tensor:
    """The level of each channel, int64 (batch, 3, 8, 8), at the middle of every place of the maps; -100 where black."""
    step = images.shape[-1] // MAP_PX
    colours = (images[..., step // 2 :: step, step // 2 :: step].float() + 1) / 2
    levels = (colours * LEVELS).long().clamp(0, LEVELS - 1)
    black = levels.amax(1, keepdim=True) == 0
    return levels.masked_fill(black, _BLACK)


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient comes back times `-factor`. Source: Ganin & Lempitsky 2015."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None
