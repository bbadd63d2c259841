"""Where the objects of ImageNet-9's images are: by mask files, by GrabCut within ImageNet's boxes, or by what is salient."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cgn.data.imagenet9 import Box, Mask, Picture, box_of, is_eligible
from cgn.data.in9_pictures import Frame, LeftOut, frame_of
from cgn.errors import InputError
from cgn.pictures import open_picture

_OBJECT_ABOVE = 127
_ITERATIONS, _ATTEMPTS, _MIN_SHARE, _MIN_AREA = 5, 10, 0.1, 25
_SALIENCY_PX = 320  # U2-Net was trained at this side
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

NOT_ELIGIBLE = "the object leaves too little background, or lies outside of the middle by half or more"


class Found(NamedTuple):
    """An object within the square that is kept of an image."""

    box: Box
    mask: bytes  # a PNG, 8 bits, 255 on the object


class Annotation(NamedTuple):
    """What one of ImageNet's XML files says of an image."""

    width: int
    height: int
    boxes: tuple[Box, ...]


# ---- given


def read_mask(path: Path, width: int, height: int) -> Image.Image:
    """A mask of an image's size, 8 bits, 255 on the object, from a greyscale or black and white PNG.

    Raises: InputError, naming the file, where it is missing, none, of another size, or empty.
    """
    if not path.is_file():
        raise InputError(f"{path}: found no mask, expected a PNG; add it, or take the image out")
    remedy = "mend it, or take its image out"
    image = open_picture(path, formats=["PNG"], what=str(path), remedy=remedy)
    if image.mode not in {"L", "1"}:
        raise InputError(f"{path}: found a {image.mode} picture, expected greyscale of 8 bits; {remedy}")
    if image.size != (width, height):
        raise InputError(
            f"{path}: found a mask of {image.width} x {image.height} px, expected {width} x {height} as its image; {remedy}"
        )
    mask = image.convert("L")
    if mask.getextrema()[1] <= _OBJECT_ABOVE:  # type: ignore[operator]
        raise InputError(f"{path}: found no pixel above {_OBJECT_ABOVE}, expected an object; {remedy}")
    return mask


def of_mask(mask: Image.Image, frame: Frame) -> Found | LeftOut:
    """The object of a mask that is not empty, by its own box.

    A pixel is the object's or it is not, as in Xiao et al. 2020: nothing shines through an object but at its edge, where a mask is
    scaled.
    """
    mask = mask.point(lambda value: 255 * (value > _OBJECT_ABOVE))
    box = box_of(_tensor(mask))
    if not is_eligible(box, frame.crop):
        return LeftOut(NOT_ELIGIBLE, _said(box, frame))
    return _found(frame.applied(mask), frame, None)


# ---- GrabCut


def annotation_file(folder: Path, file: str) -> Path | None:
    """Where boxes of an image are among ImageNet's XML files: by its path, or in one folder as those of the validation images."""
    path = Path(file).with_suffix(".xml")
    return next((found for found in (folder / path, folder / path.name) if found.is_file()), None)


def read_annotation(path: Path) -> Annotation:
    """The size of an image and all its boxes. Raises: InputError, naming the file, where it does not say them."""
    try:
        root = ET.parse(path).getroot()
        width, height = (_number(root, f"size/{name}") for name in ("width", "height"))
        edges = ("xmin", "ymin", "xmax", "ymax")
        boxes = [Box(*(_number(box, edge) for edge in edges)) for box in root.iterfind("object/bndbox")]
    except (ET.ParseError, ValueError, OSError) as error:
        raise InputError(f"{path}: found no annotation as ImageNet's are ({error}); mend it or take it out") from error
    return Annotation(width, height, tuple(boxes))


def annotated_box(annotation: Annotation, width: int, height: int, frame: Frame) -> Box | LeftOut:
    """The one box of an image, if its annotation has one and fits.

    Source: Xiao et al. 2020, appendix A, and their script.
    """
    if (annotation.width, annotation.height) != (width, height):
        said = f"{annotation.width} x {annotation.height} said, {width} x {height} found"
        return LeftOut("its annotation is of an image of another size", said)
    if len(annotation.boxes) != 1:
        return LeftOut("not exactly one box", str(len(annotation.boxes)))
    left, top, right, bottom = annotation.boxes[0]
    box = Box(max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    return box if is_eligible(box, frame.crop) else LeftOut(NOT_ELIGIBLE, _said(box, frame))


def by_grabcut(image: Image.Image, box: Box, frame: Frame, seed_of: Callable[[int], int]) -> Found | LeftOut:
    """The object that GrabCut finds within a box; `seed_of` the attempt decides its draws.

    Masks of less than a tenth of the box are tried again, and then given up.
    # Differs from the script, which looks at all pixels of an image and scales masks to the nearest one: here it has as many as are
    # kept of it, since finer masks are lost, and a mask's edges are antialiased as the image's are.
    Source: Rother et al. 2004; Xiao et al. 2020, appendix A, and their script.
    """
    seen, inner = _no_finer(image, box, frame)
    if min(inner.area, seen.width * seen.height - inner.area) < _MIN_AREA:
        return LeftOut("too few pixels in or around the box", f"{inner.area} in it")
    pixels = np.asarray(seen)
    rectangle = (inner.left, inner.top, inner.right - inner.left, inner.bottom - inner.top)
    share = 0.0
    for attempt in range(_ATTEMPTS + 1):
        cv2.setRNGSeed(seed_of(attempt) % 2**31)  # of this thread's k-means, which begins both colour models
        labels = np.zeros(pixels.shape[:2], np.uint8)
        models = np.zeros((2, 1, 65))
        cv2.grabCut(pixels, labels, rectangle, models[0], models[1], _ITERATIONS, cv2.GC_INIT_WITH_RECT)
        is_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        share = is_object.sum() / inner.area
        if share >= _MIN_SHARE:
            mask = Image.fromarray(is_object.astype(np.uint8) * 255)
            return _found(frame_of(*seen.size, frame.size_px).applied(mask), frame, frame.moved(box))
    return LeftOut("GrabCut finds less than a tenth of the box", f"{share:.1%}")


def _no_finer(image: Image.Image, box: Box, frame: Frame) -> tuple[Image.Image, Box]:
    """An image and a box in it, scaled down where the image has more pixels than are kept of it."""
    scale = frame.size_px / frame.side
    if scale >= 1:
        return image, box
    width, height = (round(side * scale) for side in image.size)
    left, top = math.floor(box.left * scale), math.floor(box.top * scale)
    right, bottom = min(math.ceil(box.right * scale), width), min(math.ceil(box.bottom * scale), height)
    return image.resize((width, height), Image.Resampling.BILINEAR), Box(left, top, right, bottom)


# ---- salience


def saliency_input(picture: Picture) -> Float[Tensor, "1 3 320 320"]:
    """What U2-Net is shown of a square: 320 px, bicubic, by its own brightest value, then ImageNet's mean and deviation.

    Source: Qin et al. 2020, their repository U-2-Net, data_loader.py.
    """
    image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    resized = np.array(image.resize((_SALIENCY_PX, _SALIENCY_PX), Image.Resampling.BICUBIC), dtype=np.float32)
    pixels = torch.from_numpy(resized / max(float(resized.max()), 1.0)).permute(2, 0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return ((pixels - mean) / std)[None]


def by_saliency(saliency: Float[Tensor, "1 1 side side"], frame: Frame) -> Found | LeftOut:
    """The object in a square of which the salience of every pixel is known: what is more than half as salient as its most salient pixel,
    counted from the least.
    """
    if saliency.max() <= saliency.min():
        return LeftOut("nothing is salient", f"{float(saliency.max()):.3f} everywhere")
    return of_mask(salience_mask(saliency, frame.size_px), Frame(0, 0, frame.size_px, frame.size_px))


def salience_mask(saliency: Float[Tensor, "1 1 side side"], size_px: int) -> Image.Image:
    """Salience as 8 bits, 0 at its least and 255 at its most, which differ; bilinear."""
    low, high = saliency.min(), saliency.max()
    spread = ((saliency - low) / (high - low))[0, 0].float().numpy()
    resized = np.array(Image.fromarray(spread).resize((size_px, size_px), Image.Resampling.BILINEAR))
    return Image.fromarray((resized * 255).round().clip(0, 255).astype(np.uint8))


def _found(mask: Image.Image, frame: Frame, box: Box | None) -> Found | LeftOut:
    """An object by its mask in what is kept; without a box, by the mask's own."""
    if mask.getextrema()[1] <= _OBJECT_ABOVE:  # type: ignore[operator]
        return LeftOut("no object in the middle", f"{frame.side:.0f} px a side are kept")
    file = io.BytesIO()
    mask.save(file, "PNG")
    return Found(box_of(_tensor(mask)) if box is None else box, file.getvalue())


def decoded_mask(png: bytes) -> Mask:
    """The mask of a `Found`."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        return _tensor(image)


def _tensor(mask: Image.Image) -> Mask:
    return torch.from_numpy(np.array(mask))[None]


def _said(box: Box, frame: Frame) -> str:
    return f"the box {tuple(box)}, of which {tuple(frame.crop)} is kept"


def _number(element: ET.Element, name: str) -> int:
    text = element.findtext(name)
    if text is None:
        raise ValueError(f"no {name}")
    return int(text)
