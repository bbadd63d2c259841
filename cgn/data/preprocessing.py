"""Picture files to what classifiers see: the middle for evaluation, a random part for training. As torchvision's references have it."""

import io
import math
import warnings

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.encoded import Encoded
from cgn.errors import InputError

# isort: split
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

# Shares of an image's area, and ratios of width to height, that a random part has.
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
_ATTEMPTS = 10
_MAX_PIXELS = 150_000_000  # the largest of ImageNet's have 60 million
_FORMATS = ["JPEG", "PNG", "WEBP", "BMP"]  # a few of ImageNet's files called .JPEG are none
_DAMAGED = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)

# Of what is odd but can be read. Once and for the process, since pictures are decoded in threads, which share filters.
warnings.filterwarnings("ignore", module=r"PIL\.")

Square = UInt8[Tensor, "3 size size"]


def decode_picture(content: bytes, what: str) -> Image.Image:
    """An RGB picture, upright by its EXIF data; of CMYK, grey, palettes and 16 bits in 8, without transparency.

    Raises: InputError, beginning with `what`, where it is no picture, damaged, cut off, or larger than 150 million pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise InputError(
                    f"{what}: found {image.width} x {image.height} pixels, expected at most {_MAX_PIXELS}; take it out"
                )
            image.load()
            upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
            return _in_rgb(upright)
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        found = "no picture" if isinstance(error, UnidentifiedImageError) else f"a damaged picture ({error})"
        raise InputError(f"{what}: found {found}, expected {', '.join(_FORMATS)}; mend it or take it out") from error


def decoded(encoded: Encoded, key: str) -> Image.Image:
    """The RGB picture of an encoded image.

    Raises: InputError that names its file, and within a larger file its key, where it is missing, changed or damaged.
    """
    where = str(encoded.path) if encoded.size is None else f"{encoded.path}: {key}"
    return decode_picture(encoded.read(), where)


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow's own conversion would clip
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def evaluation_pixels(
    source: bytes | Image.Image,
    resize_px: int | None,
    image_px: int,
    *,
    interpolation: str = "bilinear",
    what: str = "image",
) -> Square:
    """The middle square of `image_px` after the shorter side has been resized to `resize_px`; with None the whole picture, resized
    to a square where it is none of that size: for sets whose pictures were cut before.

    Raises: InputError as `decode_picture` does.
    """
    image = decode_picture(source, what) if isinstance(source, bytes) else source
    mode = InterpolationMode(interpolation)
    if resize_px is not None:
        image = transforms.center_crop(transforms.resize(image, [resize_px], mode), [image_px])
    elif image.size != (image_px, image_px):
        image = transforms.resize(image, [image_px, image_px], mode)
    return as_pixels(image)


def training_pixels(
    image: Image.Image, image_px: int, rng: torch.Generator, *, interpolation: str = "bilinear"
) -> Square:
    """A random part of a picture, resized to a square, mirrored every other time.

    Source: torchvision's references/classification, after Szegedy et al. 2015, section 6; RandomResizedCrop draws parts likewise.
    """
    left, top, width, height = random_part(image.width, image.height, rng)
    mirrored = bool(torch.rand((), generator=rng) < 0.5)
    mode = InterpolationMode(interpolation)
    part = transforms.resized_crop(image, top, left, height, width, [image_px, image_px], mode)
    return as_pixels(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part)


def random_part(width: int, height: int, rng: torch.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random part: 8 to 100 % of the area, 3 to 4 up to 4 to 3 wide; where ten draws do not fit, the
    largest part in the middle that does.
    """
    draws = torch.rand(_ATTEMPTS, 4, generator=rng, dtype=torch.float64).tolist()
    lowest, highest = (math.log(limit) for limit in _RATIO)
    for share, slant, across, down in draws:
        area = width * height * (_AREA[0] + share * (_AREA[1] - _AREA[0]))
        ratio = math.exp(lowest + slant * (highest - lowest))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(across * (width - wide + 1)), int(down * (height - high + 1)), wide, high
    wide, high = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    return (width - wide) // 2, (height - high) // 2, wide, high


def as_pixels(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """An RGB picture as a tensor; channels lie innermost in memory, as convolutions like them."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
