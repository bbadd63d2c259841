"""Telling objects from backgrounds by hand: by where in its class's images a colour is found."""

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from cgn.contracts import Images, Labels, Pixels
from cgn.mnist import NUM_CLASSES

LEVELS = 16  # of each colour channel
_BLUR = (0.25, 0.5, 0.25)  # over neighbouring levels
_BORDER_PX = 3  # what lies there is background: the object is inside the frame
_MIDDLE_PX = 16  # the side of the square in which the object is
_BACKGROUND_SHARE = 0.6  # of that square, roughly

Objects = Bool[Tensor, "batch 1 height width"]


def segment(pixels: Pixels, labels: Labels) -> Objects:
    """Which pixels show the object: those whose colour is more likely an object's, in images of their class.

    A colour's frequency at the border is that of backgrounds; in the middle it is that of backgrounds and objects mixed.
    From images and their labels alone. Colours that object and background of a class share leave holes.
    """
    objects = torch.zeros(len(pixels), 1, *pixels.shape[2:], dtype=torch.bool)
    for label in range(NUM_CLASSES):
        rows = (labels == label).nonzero()[:, 0]
        red, green, blue = (pixels[rows].long() * LEVELS // 256).unbind(1)
        colours = (red * LEVELS + green) * LEVELS + blue
        border = torch.ones(colours.shape[1:], dtype=torch.bool)
        border[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
        margin = (colours.shape[-1] - _MIDDLE_PX) // 2
        middle = colours[:, margin : margin + _MIDDLE_PX, margin : margin + _MIDDLE_PX]
        of_background = _BACKGROUND_SHARE * _frequencies(colours[:, border])
        objects[rows, 0] = (of_background < 0.5 * _frequencies(middle))[colours]
    return objects


def fill(images: Images, known: Objects) -> Images:
    """Images whose pixels that are not `known` repeat the known ones nearest to them.

    What is known grows by one pixel at a time, each new one the mean of its known neighbours. An image of which nothing
    is known stays as it is.
    """
    known = known.float()
    for _ in range(max(images.shape[2:])):
        counts = F.avg_pool2d(known, 3, 1, 1, divisor_override=1)
        sums = F.avg_pool2d(images * known, 3, 1, 1, divisor_override=1)
        grown = (known == 0) & (counts > 0)
        if not grown.any():
            break
        images = torch.where(grown, sums / counts.clamp(min=1), images)
        known = known + grown.float()
    return images


def _frequencies(colours: Tensor) -> Tensor:
    """The share of each colour, (LEVELS**3,), blurred over similar ones."""
    shares = colours.flatten().bincount(minlength=LEVELS**3).double().reshape(1, 1, LEVELS, LEVELS, LEVELS)
    kernel = torch.tensor(_BLUR, dtype=torch.float64)
    for shape in ((3, 1, 1), (1, 3, 1), (1, 1, 3)):
        shares = F.conv3d(shares, kernel.reshape(1, 1, *shape), padding=tuple(side // 2 for side in shape))
    return shares.flatten() / shares.sum()
