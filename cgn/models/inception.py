"""The Inception network of Inception Score and FID: what TensorFlow published in 2015, on torchvision's modules."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.contracts import Images, Pixels
from cgn.rng import stream
from cgn.training import seeded

# isort: split
from torchvision.models import inception

NUM_FEATURES, NUM_CLASSES = 2048, 1008  # the classes of ImageNet and eight that mean nothing
SIDE_PX = 299


class Seen(NamedTuple):
    """What Inception sees in images."""

    features: Float[Tensor, "batch 2048"]  # of the last pooling: what FID compares
    probabilities: Float[Tensor, "batch 1008"]


class Inception(nn.Module):
    """Inception-v3 as TensorFlow's graph of 2015-12-05 has it; its `layers` have the names of torchvision's and torch-fidelity's.

    Source: Szegedy et al. 2016. torch-fidelity and pytorch-fid note how that graph differs from torchvision's network: means at the
    border leave out the padding, the last block takes the largest and not the mean, and there are 1008 classes.
    """

    def __init__(self) -> None:
        super().__init__()
        with_mean = [
            _pooling(block, _mean) for block in (inception.InceptionA, inception.InceptionC, inception.InceptionE)
        ]
        blocks = [
            inception.BasicConv2d,
            with_mean[0],
            inception.InceptionB,
            with_mean[1],
            inception.InceptionD,
            with_mean[2],
            inception.InceptionAux,
        ]
        self.layers = inception.Inception3(
            num_classes=NUM_CLASSES, aux_logits=False, init_weights=False, inception_blocks=blocks
        )
        self.layers.Mixed_7c = _pooling(inception.InceptionE, _largest)(NUM_FEATURES)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Pixels) -> Seen:
        """Features and probabilities, in float32; the last layer's bias is left out.

        Source: Salimans et al. 2016, whose code leaves it out, and so does torch-fidelity.
        """
        maps = (resized(pixels.float(), SIDE_PX) - 128) / 128
        *layers, last = self.layers.children()
        for layer in layers:
            maps = layer(maps)
        features = maps.flatten(1)
        return Seen(features, (features @ last.weight.T).softmax(1))


def random_inception(seed: int) -> Inception:
    """An untrained network: for tests, never for a number that counts."""

    def draw() -> Inception:
        network = Inception()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        return network

    return seeded(stream(seed, "random_inception").initial_seed(), draw)


def resized(images: Images, side_px: int) -> Float[Tensor, "batch 3 side side"]:
    """Images at another size, squares, bilinear as TensorFlow 1 does it: pixel i lies at i times the ratio of sizes, and what
    lies between is not averaged.
    """
    for dim in (2, 3):
        size = images.shape[dim]
        at = torch.arange(side_px, device=images.device) * (size / side_px)
        low = at.long()
        share = (at - low).view(-1, 1) if dim == 2 else at - low
        images = torch.lerp(
            images.index_select(dim, low), images.index_select(dim, (low + 1).clamp(max=size - 1)), share
        )
    return images


def _pooling(block: Any, pool: Callable[[Tensor], Tensor]) -> Any:
    """A block of torchvision's whose last branch begins with another pooling."""

    class Block(block):  # type: ignore[misc]
        def _forward(self, maps: Tensor) -> list[Tensor]:
            return [*super()._forward(maps)[:-1], self.branch_pool(pool(maps))]

    return Block


def _mean(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def _largest(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 3, stride=1, padding=1)
