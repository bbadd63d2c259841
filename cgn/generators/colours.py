"""Colours of plain layers, read off training images.

A texture network learns a class's mean colour within a few levels and hardly any of the spread around it: no discriminator
sees 2 levels of 255. Where object and background may share their mean colour, that spread is all that tells them apart, and
a network's own faint detail drowns it. So where layers are plain, counterfactuals take colours from training images, as they
take shapes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cgn.composer import to_images
from cgn.config import Precision
from cgn.contracts import Images, Labels, Pixels
from cgn.generators.base import Generator
from cgn.mnist import NUM_CLASSES

_BATCH = 500
_PLAIN_SHARE = 0.75  # of a layer's pixels, to have one colour

Palette = tuple[UInt8[Tensor, "_ 3"], ...]
"""A layer's colours of every class; none where the class's layers are not plain."""


class PlainColours(NamedTuple):
    """The colours that training images show of objects and of backgrounds."""

    foreground: Palette
    background: Palette


@torch.inference_mode()
def plain_colours(generator: Generator, pixels: Pixels, labels: Labels, *, precision: Precision) -> PlainColours:
    """The colours of the layers of these images, which the masks that `generator` infers tell apart.

    An image's layer is plain if three quarters of its pixels have one colour, a class's if most of its images' are. A plain
    class has the colour of each of its plain layers.
    """
    generator.eval()
    colours, shares = [], []
    for rows in torch.arange(len(labels)).split(_BATCH):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            inside = generator.infer_masks(to_images(pixels[rows]), labels[rows]) > 0.5
        found = [_median_colour(pixels[rows], side) for side in (inside, ~inside)]
        colours.append(torch.stack([colour for colour, _ in found]))
        shares.append(torch.stack([share for _, share in found]))
    plain = torch.cat(shares, dim=1) >= _PLAIN_SHARE
    return PlainColours(*map(_palette, torch.cat(colours, dim=1), plain, [labels] * 2))


def painted(layers: Images, labels: Labels, palette: Palette, which: Float[Tensor, " batch"]) -> Images:
    """The layers, of one colour where their class is plain: at the share `which`, in [0, 1), of the class's colours."""
    layers = layers.clone()
    for label, colours in enumerate(palette):
        rows = (labels == label).nonzero()[:, 0]
        if len(colours) and len(rows):
            chosen = (which[rows] * len(colours)).long().clamp(max=len(colours) - 1)
            layers[rows] = to_images(colours[chosen][:, :, None, None]).to(layers.dtype)
    return layers


def _median_colour(pixels: Pixels, inside: Tensor) -> tuple[UInt8[Tensor, "batch 3"], Float[Tensor, " batch"]]:
    """The median colour of the pixels `inside`, and the share of them that have it: 0 where there are none."""
    counts = inside.sum((1, 2, 3))
    levels = torch.where(inside, pixels.short(), 256).flatten(2).sort(dim=2).values
    median = levels.gather(2, (counts // 2).clamp(max=levels.shape[2] - 1)[:, None, None].expand(-1, 3, 1))
    same = (pixels == median[:, :, :, None]).all(1, keepdim=True) & inside
    return median[:, :, 0].clamp(max=255).to(torch.uint8), same.sum((1, 2, 3)) / counts.clamp(min=1)


def _palette(colours: UInt8[Tensor, "batch 3"], plain: Tensor, labels: Labels) -> Palette:
    of_class = [labels == label for label in range(NUM_CLASSES)]
    return tuple(
        colours[some & plain if 2 * int((some & plain).sum()) > int(some.sum()) else some & False] for some in of_class
    )
