"""Double-colored MNIST: the digit's colour and the background's colour both say the class."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from cgn.composer import compose
from cgn.config import DoubleColoredConfig
from cgn.contracts import Factors, Labels, Masks, Pixels
from cgn.data.types import Digits, Textures
from cgn.mnist import IMAGE_PX, NUM_CLASSES

_CHUNK = 4096
_OBJECT_SHIFT = 4  # an object of class i has the background colour of class i + 4

# RGB of class 0 to 9: darkgreen, darkblue, maroon, orangered, yellow, burlywood, lime, aqua, fuchsia, cornflowerblue.
BACKGROUND_PALETTE = torch.tensor(
    [
        (0, 100, 0),
        (0, 0, 139),
        (176, 48, 96),
        (255, 69, 0),
        (255, 255, 0),
        (222, 184, 135),
        (0, 255, 0),
        (0, 255, 255),
        (255, 0, 255),
        (100, 149, 237),
    ]
).div(255)
OBJECT_PALETTE = BACKGROUND_PALETTE.roll(-_OBJECT_SHIFT, dims=0)


def binary_masks(digits: Digits, above: float) -> Masks:
    """1 where the digit, enlarged to 32 pixels by repeating some, is brighter than `above` (of 1), else 0."""
    intensity = F.interpolate(digits[:, None].float().div_(255), size=IMAGE_PX, mode="nearest")
    return (intensity > above).float()


def make_images(
    digits: Digits, factors: Factors, config: DoubleColoredConfig, rng: torch.Generator, _textures: Textures
) -> Pixels:
    """Binary digits of one colour on one other colour, both with normal noise of `color_std` per image and channel.

    Source: Sauer & Geiger 2021, appendix C.4; the colours and the noise are those of the authors' code.
    """
    object_noise, background_noise = torch.randn(2, len(digits), 3, generator=rng)
    objects = _plain(OBJECT_PALETTE[factors.texture] + config.color_std * object_noise)
    backgrounds = _plain(BACKGROUND_PALETTE[factors.background] + config.color_std * background_noise)
    pixels = torch.empty(len(digits), 3, IMAGE_PX, IMAGE_PX, dtype=torch.uint8)
    for start in range(0, len(digits), _CHUNK):
        part = slice(start, start + _CHUNK)
        mask = binary_masks(digits[part], config.binarize_above)
        pixels[part] = compose(mask, objects[part], backgrounds[part])
    return pixels


def shares_palette_entry(factors: Factors) -> Bool[Tensor, " batch"]:
    """Whether object and background are drawn from one palette entry, so that noise alone tells them apart."""
    shifted: Labels = (factors.texture + _OBJECT_SHIFT) % NUM_CLASSES
    return shifted == factors.background


def _plain(colours: Tensor) -> Tensor:
    """Images of one colour each, in levels of 0 to 255; they take no memory beyond the colours."""
    levels = colours.mul(255).round_().clamp_(0, 255)
    return levels[:, :, None, None].expand(-1, -1, IMAGE_PX, IMAGE_PX)
