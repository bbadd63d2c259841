"""Colored MNIST: the digit's colour says its class, on black."""

import torch
import torch.nn.functional as F

from cgn.config import ColoredConfig
from cgn.contracts import Factors, Pixels
from cgn.data.types import Digits, Textures
from cgn.mnist import IMAGE_PX

_CHUNK = 4096

# Differs from the paper: its ten colour means come with a file that is not public, so these are our own, chosen far
# from each other and from black. RGB of class 0 to 9:
# red, azure, yellow, green, white, purple, cyan, orange, pink, grey.
PALETTE = torch.tensor(
    [
        (225, 10, 40),
        (30, 100, 225),
        (240, 240, 20),
        (20, 150, 50),
        (245, 245, 245),
        (140, 20, 180),
        (50, 230, 230),
        (250, 125, 20),
        (245, 100, 240),
        (130, 130, 130),
    ]
).div(255)


def make_images(
    digits: Digits, factors: Factors, config: ColoredConfig, rng: torch.Generator, _textures: Textures
) -> Pixels:
    """Digits times a colour near their texture class's entry of `PALETTE`, one random colour per image.

    The colour is the entry plus normal noise of `color_std` per channel, clipped to [0, 1].

    Source: Kim et al. 2019 (Learning Not to Learn), section 4.1.
    """
    noise = torch.randn(len(digits), 3, generator=rng)
    colours = (PALETTE[factors.texture] + config.color_std * noise).clamp(0, 1)
    pixels = torch.empty(len(digits), 3, IMAGE_PX, IMAGE_PX, dtype=torch.uint8)
    for start in range(0, len(digits), _CHUNK):
        part = slice(start, start + _CHUNK)
        # nearest-exact is what an image library's nearest resize does; the authors resize this data set with one
        intensity = F.interpolate(digits[part, None].float(), size=IMAGE_PX, mode="nearest-exact")
        pixels[part] = (intensity * colours[part, :, None, None]).round_()
    return pixels
