"""From photographs to the squares that ImageNet-9 is made of."""

import io
import math
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from cgn.data.imagenet9 import Box, Picture
from cgn.errors import InputError

_FORMATS = ["JPEG", "PNG", "WEBP"]  # by their contents: ImageNet has a PNG that is called JPEG
_MODES = frozenset({"RGB", "L"})
_MAX_PX = 4096  # of one side: what is larger may be made to fill the memory
_ORIENTATION, _TURNED = 0x0112, range(2, 9)  # of EXIF: 1 is upright, anything else nothing
_KEPT_SHARE = 224 / 256  # of the shorter side
_REMEDY = "mend it or take it out, and run `dvc repro --force fetch_images`"


class LeftOut(NamedTuple):
    """Why an image is none of ImageNet-9's."""

    why: str  # one of a few reasons
    found: str


class Frame(NamedTuple):
    """The square of an image that is kept, in its pixels, and how many pixels a side become of it."""

    left: float
    top: float
    side: float
    size_px: int

    @property
    def crop(self) -> Box:
        """The same in whole pixels."""
        return Box(*map(round, (self.left, self.top, self.left + self.side, self.top + self.side)))

    def applied(self, image: Image.Image) -> Image.Image:
        """What is kept of an image or mask, antialiased bilinear."""
        box = (self.left, self.top, self.left + self.side, self.top + self.side)
        return image.resize((self.size_px, self.size_px), Image.Resampling.BILINEAR, box=box)

    def moved(self, box: Box) -> Box:
        """A box in the pixels of what is kept, the whole of every pixel that it touches."""
        scale = self.size_px / self.side
        places = ((edge - start) * scale for edge, start in zip(box, (self.left, self.top) * 2, strict=True))
        left, top, right, bottom = (min(max(place, 0), self.size_px) for place in places)
        return Box(math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))


def frame_of(width: int, height: int, size_px: int) -> Frame:
    """The middle square of 224/256 of an image's shorter side; all of an image that is `size_px` a side already.

    Source: Xiao et al. 2020, their script: the shorter side to 256, the middle 224. An image of the size that is left by that has
    been cut before, and would lose a quarter of its area once more.
    """
    if (width, height) == (size_px, size_px):
        return Frame(0, 0, size_px, size_px)
    side = _KEPT_SHARE * min(width, height)
    return Frame((width - side) / 2, (height - side) / 2, side, size_px)


def read_upright(content: bytes, what: str) -> Image.Image | LeftOut:
    """A decoded RGB image, or why it is left out: colours or orientation that others may read otherwise, or its size.

    Greyscale becomes RGB. Raises: InputError, beginning with `what`, where it is no picture, or a damaged one.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.mode not in _MODES:
                return LeftOut("neither RGB nor greyscale of 8 bits", image.mode)
            if (orientation := image.getexif().get(_ORIENTATION)) in _TURNED:
                return LeftOut("stored turned or mirrored", f"EXIF orientation {orientation}")
            if max(image.size) > _MAX_PX:
                return LeftOut(f"larger than {_MAX_PX} px a side", f"{image.width} x {image.height}")
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        return LeftOut(f"larger than {_MAX_PX} px a side", str(error))
    except UnidentifiedImageError as error:
        raise InputError(f"{what}: found no JPEG, PNG or WEBP image; {_REMEDY}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{what}: found a damaged image ({error}); {_REMEDY}") from error


def to_tensor(image: Image.Image) -> Picture:
    """Pixels of an RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def jpeg(picture: Picture, quality: int) -> bytes:
    """A JPEG as Pillow makes it, colours at half the resolution."""
    file = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=quality)
    return file.getvalue()
