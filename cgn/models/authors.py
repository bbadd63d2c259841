"""The networks of the CGN for MNIST as its authors wrote them: mechanisms, shuffle layer, discriminators, initial weights.

Source of the whole file: Sauer & Geiger 2021, appendix C.4, and their repository counterfactual_generative_networks
(mnists/models and utils), which decides where the text is silent.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.contracts import Images, Labels, Masks
from cgn.mnist import IMAGE_PX, NUM_CLASSES
from cgn.models.mechanisms import cyclic_shift

NUM_CROPS = IMAGE_PX + 1  # positions of a 32 px window in 64 px: the first and the last show the same
_FIRST_PX = IMAGE_PX // 4
_MASK_EPS = 1e-4
_DROPOUT = 0.4
_DISCRIMINATOR_STD = 0.02  # of the convolutional one's first weights

InitName = Literal["orthogonal", "normal"]
Inputs = Float[Tensor, "batch inputs"]


def tile_and_crop(images: Images, corners: Tensor) -> Images:
    """The window of the images' own size at `corners`, int64 (batch, 2) in 0 to 32, out of four copies laid 2x2.

    The authors' texture-shuffling layer. It is a cyclic shift, but the two ends of its range coincide, so shift 0 is
    twice as likely as any other.
    """
    return cyclic_shift(images, -corners)


def _upsample(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Upsample(scale_factor=2),
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.2, inplace=True),
    ]


def _first_map(inputs: int, width: int) -> list[nn.Module]:
    return [nn.Linear(inputs, 2 * width * _FIRST_PX**2), nn.Unflatten(1, (2 * width, _FIRST_PX, _FIRST_PX))]


class AuthorsShape(nn.Sequential):
    """Noise with class embedding to a mask: standardised per image, then cut off at both ends, without a sigmoid."""

    def __init__(self, *, inputs: int, width: int) -> None:
        super().__init__(
            *_first_map(inputs, width),
            nn.InstanceNorm2d(2 * width),
            *_upsample(2 * width, width),
            nn.InstanceNorm2d(width),
            *_upsample(width, 1),
            nn.InstanceNorm2d(1),
        )

    def forward(self, inputs: Inputs) -> Masks:
        masks: Tensor = super().forward(inputs)
        return masks.clamp(_MASK_EPS, 1 - _MASK_EPS)


class AuthorsTexture(nn.Sequential):
    """Noise with class embedding to a texture in [-1, 1], not yet shuffled."""

    def __init__(self, *, inputs: int, width: int) -> None:
        super().__init__(
            *_first_map(inputs, width),
            *_upsample(2 * width, 2 * width),
            *_upsample(2 * width, width),
            nn.Conv2d(width, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.Tanh(),
        )

    def forward(self, inputs: Inputs) -> Images:
        textures: Tensor = super().forward(inputs)
        return textures


def initialise(network: nn.Module, kind: InitName, gain: float) -> None:
    """Draw the weights of linear and convolutional layers (`gain` is the standard deviation where `kind` is normal) and
    the scales of batch normalisation around 1, from torch's global random state; biases become 0, embeddings stay.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if kind == "orthogonal":
                nn.init.orthogonal_(module.weight, gain)
            else:
                nn.init.normal_(module.weight, 0.0, gain)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class LinearDiscriminator(nn.Module):
    """Four linear layers over the pixels and a class embedding, with dropout after the second and the third."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        sizes = (NUM_CLASSES + 3 * IMAGE_PX**2, width, width, width)
        self.layers = nn.ModuleList(nn.Linear(sizes[i], sizes[i + 1]) for i in range(3))
        self.score = nn.Linear(width, 1)

    def forward(self, images: Images, labels: Labels, rng: torch.Generator) -> Float[Tensor, " batch"]:
        """Scores, 1 meaning real; `rng` draws what is dropped."""
        features = torch.cat([images.flatten(1), self.embed(labels)], dim=1)
        for number, layer in enumerate(self.layers):
            features = layer(features)
            if number > 0:
                kept = torch.rand(features.shape, generator=rng) >= _DROPOUT
                features = features * kept / (1 - _DROPOUT)
            features = F.leaky_relu(features, 0.2)
        scores: Tensor = self.score(features)
        return scores[:, 0]


class ConvDiscriminator(nn.Module):
    """Four convolutions over the pixels and one constant channel per class, averaged to a score."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CLASSES, 1)

        def block(channels_in: int, channels_out: int, kernel_px: int, stride: int) -> list[nn.Module]:
            return [
                nn.Conv2d(channels_in, channels_out, kernel_px, stride, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.LeakyReLU(0.2, inplace=True),
            ]

        self.net = nn.Sequential(
            *block(4, width, 3, 1),
            *block(width, 2 * width, 3, 1),
            *block(2 * width, 4 * width, 4, 2),
            *block(4 * width, 4 * width, 4, 2),
            nn.AvgPool2d(3),
            nn.Conv2d(4 * width, 1, 1, bias=False),
        )
        initialise(self, "normal", _DISCRIMINATOR_STD)

    def forward(self, images: Images, labels: Labels, _rng: torch.Generator) -> Float[Tensor, " batch"]:
        """Scores, 1 meaning real; nothing is drawn."""
        channel = self.embed(labels)[:, :, None, None].expand(-1, -1, *images.shape[2:])
        scores: Tensor = self.net(torch.cat([images, channel], dim=1))
        return scores.flatten()


DISCRIMINATORS: dict[str, Callable[[int], LinearDiscriminator | ConvDiscriminator]] = {
    "linear": LinearDiscriminator,
    "conv": ConvDiscriminator,
}
