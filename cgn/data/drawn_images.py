"""Drawn photographs: textured shapes before a scenery, with their masks. For trying things out where nobody has got ImageNet.

Shape, texture and scenery go with the class, as in a biased set of photographs; pose, light and grain vary from image to image.
"""

import colorsys
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from cgn.data.image_tables import PARTS, WORDNET
from cgn.data.imagenet_classes import SIXTEEN
from cgn.rng import stream

SEED = 0  # of all drawings: data sets are frozen
_PER_CLASS: Mapping[str, int] = {"train": 6, "val": 3}  # images
_HEIGHT_PX, _WIDTH_PX, _CUE_CONFLICT_PX = 96, 112, 96
_JPEG_QUALITY = 92
_OTHERS = (
    1,
    4,
    7,
    10,
    13,
)  # how much further on among the sixteen categories textures are, of which a shape gets one each

# ImageNet's numbers: two classes or more of each of ImageNet-9, and one of each of the sixteen categories of cue conflict.
CLASSES = (
    *(207, 235, 8, 14, 444, 436, 569, 35, 47, 294, 277, 301, 323, 402, 579, 366, 372, 1, 6),
    *(404, 472, 440, 281, 423, 409, 385, 508, 499, 766),
)

_Field = Float[Tensor, "height width"]
_Layer = Float[Tensor, "3 height width"]


class Drawing(NamedTuple):
    """A picture and its object's mask."""

    pixels: UInt8[Tensor, "3 height width"]
    mask: UInt8[Tensor, "1 height width"]  # 255: object


def draw_images(folder: Path) -> None:
    """Write `folder`/<part>/<class>/<picture>.JPEG and `folder`/masks/<part>/<class>/<picture>.png, classes by WordNet's numbers."""
    names = {number: name for name, number in WORDNET.items()}
    for part in PARTS:
        for label in CLASSES:
            pictures, masks = (folder / base / part / names[label] for base in ("", "masks"))
            for made in (pictures, masks):
                made.mkdir(parents=True)
            for number in range(_PER_CLASS[part]):
                stem = f"{names[label]}_{part}_{number}"
                rng = stream(SEED, "drawn", part, label, number)
                drawn = draw(label, label, label, rng, height_px=_HEIGHT_PX, width_px=_WIDTH_PX)
                _image(drawn.pixels).save(pictures / f"{stem}.JPEG", quality=_JPEG_QUALITY)
                Image.fromarray(drawn.mask[0].numpy()).save(masks / f"{stem}.png")


def draw_cue_conflict(folder: Path) -> None:
    """Write `folder`/<category>/<category><n>-<other><n>.png: every category's shape with the textures of some others.

    Before one grey, so that nothing else speaks.
    """
    categories = list(SIXTEEN)
    kinds = [_kind_of(category) for category in categories]
    for place, category in enumerate(categories):
        (folder / category).mkdir(parents=True)
        for number, step in enumerate(_OTHERS, start=1):
            other = (place + step) % len(categories)
            rng = stream(SEED, "drawn_cue_conflict", category, number)
            drawn = draw(kinds[place], kinds[other], None, rng, height_px=_CUE_CONFLICT_PX, width_px=_CUE_CONFLICT_PX)
            _image(drawn.pixels).save(folder / category / f"{category}{number}-{categories[other]}{number}.png")


def draw(
    shape: int, texture: int, scenery: int | None, rng: torch.Generator, *, height_px: int, width_px: int
) -> Drawing:
    """A shape of one class with the texture of another before the scenery of a third; without scenery before grey."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in (height_px, width_px)), indexing="ij")
    size, turn, down, right, *shift = torch.rand(8, generator=rng, dtype=torch.float64).tolist()
    side = min(height_px, width_px)
    radius = side * (0.24 + 0.08 * size)
    from_y, from_x = y - height_px * (0.4 + 0.2 * down), x - width_px * (0.4 + 0.2 * right)
    distance, angle = torch.hypot(from_y, from_x), torch.atan2(from_y, from_x) + 0.6 * (turn - 0.5)
    mask = (radius * _outline(shape, angle) - distance + 0.5).clamp(0, 1)
    object_layer = _pattern(texture, "drawn_texture", y + 40 * shift[0], x + 40 * shift[1], scale=1.0)
    if scenery is None:
        background = torch.full_like(object_layer, 0.6)
    else:
        background = _pattern(scenery, "drawn_scenery", y + 90 * shift[2], x + 90 * shift[3], scale=2.5)
    light = 0.85 + 0.3 * (y * (turn - 0.5) + x * (size - 0.5) + side) / (2 * side)
    mask = mask.mul(255).round()
    image = (object_layer * mask + background * (255 - mask)) / 255 * light
    grain = 0.02 * torch.randn(image.shape, generator=rng, dtype=torch.float64)
    return Drawing((image + grain).mul(255).round().clamp(0, 255).to(torch.uint8), mask[None].to(torch.uint8))


def _outline(kind: int, angle: _Field) -> _Field:
    """How far a shape reaches in a direction, about 1: a few waves around a circle."""
    rng = stream(SEED, "drawn_shape", kind)
    sizes, phases = torch.rand(2, 5, generator=rng, dtype=torch.float64).tolist()
    reach = torch.ones_like(angle)
    for waves, (size, phase) in enumerate(zip(sizes, phases, strict=True), start=2):
        reach = reach + 0.45 * size / math.sqrt(waves) * torch.cos(waves * angle + 2 * math.pi * phase)
    return reach.clamp(0.45, 1.6)


def _pattern(kind: int, purpose: str, y: _Field, x: _Field, *, scale: float) -> _Layer:
    """Two colours of a kind in stripes, checks or blobs; the first names which, the next how wide and how they lie."""
    rng = stream(SEED, purpose, kind)
    which, width, turn, hue, contrast = torch.rand(5, generator=rng, dtype=torch.float64).tolist()
    period, angle = scale * (7 + 9 * width), math.pi * turn
    along = (x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period
    across = (y * math.cos(angle) - x * math.sin(angle)) * 2 * math.pi / period
    waves = (torch.sin(along), torch.sin(along) * torch.sin(across), torch.sin(along + torch.sin(across)))
    weight = torch.sigmoid(4 * waves[int(3 * which)])
    light, dark = (
        torch.tensor(colorsys.hsv_to_rgb(*colour), dtype=torch.float64)[:, None, None]
        for colour in ((hue, 0.35 + 0.4 * contrast, 0.9), ((hue + 0.15 + 0.5 * contrast) % 1, 0.7, 0.45))
    )
    return weight * light + (1 - weight) * dark


def _kind_of(category: str) -> int:
    """A drawn class of one of the sixteen categories."""
    return next(number for number in CLASSES if any(first <= number <= last for first, last in SIXTEEN[category]))


def _image(pixels: UInt8[Tensor, "3 height width"]) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
