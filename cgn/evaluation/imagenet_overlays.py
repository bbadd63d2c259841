"""Pictures of where heads look: heat over a grey image, with the object's outline."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

Picture = UInt8[Tensor, "3 height width"]
Plane = Float[Tensor, "1 height width"]

GAP_PX = 4
_HEAT = "inferno"
_DIMMED = 0.55  # of the image, where there is no heat
_OUTLINE = torch.tensor([64, 224, 208], dtype=torch.uint8)
_LUMINANCE = torch.tensor([0.299, 0.587, 0.114])


def outlined(picture: Picture, mask: Plane) -> Picture:
    """The picture with a line around what the mask has for object."""
    line = _edge(mask[0] > 0.5)
    return torch.where(line, _OUTLINE[:, None, None], picture)


def overlay(picture: Picture, heat: Plane, mask: Plane) -> Picture:
    """The picture in grey under the heat, its largest value brightest, with the object's outline."""
    grey = (picture.float() * _LUMINANCE[:, None, None]).sum(0) / 255
    share = (heat[0] / heat.max().clamp(min=1e-12)).clamp(0, 1)
    colours = torch.from_numpy(colormaps[_HEAT](share.numpy())[..., :3]).permute(2, 0, 1).float()
    mixed = _DIMMED * grey * (1 - share) + colours * share * (0.4 + 0.6 * grey)
    return outlined((mixed * 255).round().clamp(0, 255).to(torch.uint8), mask)


def strip(pictures: Sequence[Picture]) -> Image.Image:
    """Pictures of one size side by side, transparent between them."""
    height, width = pictures[0].shape[1:]
    step = width + GAP_PX
    sheet = Image.new("RGBA", (step * len(pictures) - GAP_PX, height), (0, 0, 0, 0))
    for place, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy())), (place * step, 0))
    return sheet


def _edge(inside: Tensor) -> Tensor:
    """Pixels of the object beside one that is none: (height, width)."""
    padded = torch.nn.functional.pad(inside[None, None].float(), (1, 1, 1, 1), mode="replicate")
    least = -torch.nn.functional.max_pool2d(-padded, 3, stride=1)[0, 0]
    return inside & (least < 0.5)
