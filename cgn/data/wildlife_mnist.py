"""Wildlife MNIST: a striped digit on a veined background, both textures saying the class."""

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from cgn.composer import compose
from cgn.config import WildlifeConfig
from cgn.contracts import Factors, Labels, Pixels
from cgn.data.double_colored_mnist import binary_masks
from cgn.data.types import Digits, Texture, Textures
from cgn.errors import InputError
from cgn.mnist import IMAGE_PX, NUM_CLASSES

_CHUNK = 4096

Canvases = UInt8[Tensor, "classes 3 side side"]


def make_images(
    digits: Digits, factors: Factors, config: WildlifeConfig, rng: torch.Generator, textures: Textures
) -> Pixels:
    """Binary digits showing a random crop of their texture on a random crop of their background.

    Raises: InputError unless there are ten textures of each kind.
    Source: Sauer & Geiger 2021, appendix C.4; sizes and resizing are those of the authors' code.
    """
    canvases = tuple(_canvases(kind, config) for kind in textures)
    num_corners = canvases[0].shape[-1] - IMAGE_PX + 1
    corners = torch.randint(num_corners, (2, len(digits), 2), generator=rng)  # top and left, per layer and image
    pixels = torch.empty(len(digits), 3, IMAGE_PX, IMAGE_PX, dtype=torch.uint8)
    for start in range(0, len(digits), _CHUNK):
        part = slice(start, start + _CHUNK)
        objects = crop(canvases[0], factors.texture[part], corners[0, part])
        backgrounds = crop(canvases[1], factors.background[part], corners[1, part])
        pixels[part] = compose(binary_masks(digits[part], config.binarize_above), objects.float(), backgrounds.float())
    return pixels


def crop(canvases: Canvases, classes: Labels, corners: Tensor) -> Pixels:
    """Per image, the 32-pixel square of its class's canvas whose top left pixel is its row of `corners` (batch 2)."""
    steps = torch.arange(IMAGE_PX)
    rows = (corners[:, 0, None] + steps)[:, :, None]
    columns = (corners[:, 1, None] + steps)[:, None, :]
    canvases = canvases.permute(0, 2, 3, 1)  # one gather then fetches whole pixels
    return canvases[classes[:, None, None], rows, columns].permute(0, 3, 1, 2)


def _canvases(textures: tuple[Texture, ...], config: WildlifeConfig) -> Canvases:
    """Textures as squares of `texture_px` with a reflected border."""
    if len(textures) != NUM_CLASSES:
        raise InputError(
            f"found {len(textures)} textures of one kind, expected {NUM_CLASSES}; run `dvc repro fetch` again"
        )
    size, border = config.texture_px, [config.crop_padding_px] * 4
    squares = [F.interpolate(texture[None], size=(size, size), mode="nearest-exact") for texture in textures]
    return F.pad(torch.cat(squares).float(), border, mode="reflect").to(torch.uint8)
