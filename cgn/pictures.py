"""Opening picture files that may be anything."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cgn.errors import InputError

_MAX_PX = 4096  # of one side: what is larger may be made to fill the memory


def open_picture(source: Path | bytes, *, formats: list[str], what: str, remedy: str) -> Image.Image:
    """A decoded picture of one of Pillow's `formats`, at most 4096 px a side.

    Raises: InputError, beginning with `what`, where it is none, damaged or larger.
    """
    expected = " or ".join(formats)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            if max(image.size) > _MAX_PX:
                raise InputError(
                    f"{what}: found {image.width} x {image.height} pixels, expected at most {_MAX_PX} a side; {remedy}"
                )
            image.load()
            return image
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what}: found no {expected} image, or a damaged one ({error}); {remedy}") from error
