"""ImageNet-9: images taken apart into object and background, and put together anew.

Source: Xiao et al. 2020, "Noise or signal: the role of image backgrounds in object recognition", section 2 and appendix A.
"""

from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from cgn.contracts import Labels
from cgn.data.imagenet_classes import IN9
from cgn.errors import InputError

Picture = UInt8[Tensor, "3 height width"]
Mask = UInt8[Tensor, "1 height width"]  # 255: object

VARIANTS = ("original", "only_bg_b", "only_bg_t", "no_fg", "only_fg", "mixed_same", "mixed_rand", "mixed_next")
MIXED = ("mixed_same", "mixed_rand", "mixed_next")
_MAX_COVER, _MIN_INSIDE = 0.9, 0.5


class Box(NamedTuple):
    """Edges in pixels; right and bottom lie outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """In pixels; 0 where the edges enclose nothing."""
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)


class Cutout(NamedTuple):
    """An image, and where its object is: all of it within the box, more or less in the mask."""

    pixels: Picture
    mask: Mask
    box: Box


def box_of(mask: Mask, *, above: int = 127) -> Box:
    """The smallest box around the pixels of a mask that are above a value.

    Raises: InputError where there is none.
    """
    rows, columns = ((mask[0] > above).any(axis).nonzero().flatten() for axis in (1, 0))
    if len(rows) == 0:
        raise InputError(f"mask: found no pixel above {above}, expected an object; leave the image out")
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def is_eligible(box: Box, crop: Box) -> bool:
    """Whether an object's box leaves background in the crop that is kept, and lies in it by half at least.

    Source: Xiao et al. 2020, appendix A; the limits are those of their script.
    """
    inside = Box(
        max(box.left, crop.left), max(box.top, crop.top), min(box.right, crop.right), min(box.bottom, crop.bottom)
    ).area
    return box.area > 0 and inside <= _MAX_COVER * crop.area and inside >= _MIN_INSIDE * box.area


# ---- without another image


def object_alone(cutout: Cutout) -> Picture:
    """Only-FG: the object on black."""
    return _scaled(cutout.pixels, cutout.mask)


def object_removed(cutout: Cutout) -> Picture:
    """No-FG: the image with a black hole of the object's outline."""
    return _scaled(cutout.pixels, 255 - cutout.mask)


def box_blackened(cutout: Cutout) -> Picture:
    """Only-BG-B: the image with a black box."""
    left, top, right, bottom = cutout.box
    picture = cutout.pixels.clone()
    picture[:, top:bottom, left:right] = 0
    return picture


def box_tiled(cutout: Cutout) -> Picture:
    """Only-BG-T: the box filled with copies of the largest strip beside it, which reaches from edge to edge of the image.

    The strip is repeated over the whole image from its top left corner, and shows within the box alone. An image that is all box has
    no strip; it comes back as it is.
    Source: Xiao et al. 2020, section 2.2, and their script.
    """
    picture = cutout.pixels.clone()
    left, top, right, bottom = cutout.box
    strips = [
        picture[:, :, :left],
        picture[:, :, right:],
        picture[:, :top],
        picture[:, bottom:],
    ]
    strip = max(strips, key=lambda part: part.numel())  # of equals the first
    if strip.numel() == 0:
        return picture
    rows, columns = torch.arange(top, bottom) % strip.shape[1], torch.arange(left, right) % strip.shape[2]
    picture[:, top:bottom, left:right] = strip[:, rows][:, :, columns]
    return picture


# ---- with another image


def mixed(foreground: Cutout, background: Picture) -> Picture:
    """The object of one image on a background of the same size, by its mask.

    # Differs from the paper, whose script takes whatever is black in `object_alone` for background: see `mixed_by_black`.
    """
    return blended(foreground.pixels, foreground.mask, background)


def blended(
    objects: UInt8[Tensor, "*batch 3 height width"],
    masks: UInt8[Tensor, "*batch 1 height width"],
    backgrounds: UInt8[Tensor, "*batch 3 height width"],
) -> UInt8[Tensor, "*batch 3 height width"]:
    """Objects before backgrounds, x = m*f + (1-m)*b, rounded to whole numbers; one picture or many."""
    share = masks.int()
    layers = objects.int().mul_(share).add_(backgrounds.int().mul_(255 - share))
    return layers.add_(127).div_(255, rounding_mode="floor").to(torch.uint8)


def mixed_by_black(foreground: Cutout, background: Picture) -> Picture:
    """The same as the paper's script has it: background shows wherever the object, cut out hard, is exactly black.

    So it shines through black parts of objects. Source: Xiao et al. 2020, their script main.py.
    """
    alone = torch.where(foreground.mask > 127, foreground.pixels, 0)
    return torch.where((alone == 0).all(0), background, alone)


def _scaled(picture: Picture, mask: Mask) -> Picture:
    return ((picture.int() * mask.int() + 127) // 255).to(torch.uint8)


# ---- which with which


class Mix(NamedTuple):
    """Whose object stands before whose background: numbers of images."""

    foreground: int
    background: int


def plan_mixes(labels: Labels, variant: str, rng: torch.Generator) -> list[Mix]:
    """For every image, in order, whose background its object is put before.

    `labels` are places among the nine classes. `mixed_same` draws another image of the same class, `mixed_next` one of the next
    class, and `mixed_rand` a class, which may be its own, and then an image of it other than itself.
    Raises: InputError where a class that is needed has no image, or no second one.
    """
    if variant not in MIXED:
        raise InputError(f"variant: found {variant!r}, expected one that mixes images: {', '.join(MIXED)}")
    names = tuple(IN9)
    members = [(labels == place).nonzero().flatten().tolist() for place in range(len(names))]
    present = [place for place, found in enumerate(members) if found]
    plan = []
    for number, label in enumerate(labels.tolist()):
        if variant == "mixed_rand":
            place = present[int(torch.randint(len(present), (), generator=rng))]
        else:
            place = label if variant == "mixed_same" else (label + 1) % len(names)
        others = [member for member in members[place] if member != number]
        if not others:
            raise InputError(
                f"{variant}: found no image of class {names[place]!r} to take a background from, expected one beside "
                f"image {number}; add images of it, or leave {variant} out"
            )
        plan.append(Mix(number, others[int(torch.randint(len(others), (), generator=rng))]))
    return plan
