"""Photographs in a folder, as other images are compared with them."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from cgn.errors import InputError
from cgn.pictures import open_picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def photograph_files(folder: Path) -> list[Path]:
    """All pictures in a folder and the folders in it, in the order of their paths.

    Raises: InputError where there are fewer than two, of which nothing varies.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(files) < 2:
        found = "one picture" if files else "no picture"
        raise InputError(f"{folder}: found {found}, expected two or more ({', '.join(sorted(SUFFIXES))})")
    return files


def files_digest(files: list[Path]) -> str:
    """SHA-256 over the contents of files, one after another: which photographs they were, whatever they are called."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_photograph(path: Path, size_px: int) -> UInt8[Tensor, "3 size size"]:
    """The largest square from a photograph's middle, antialiased bicubic at `size_px` a side.

    Raises: InputError where the file is no picture, damaged, or larger than 4096 px a side.
    """
    image = open_picture(path, formats=["JPEG", "PNG", "WEBP"], what=str(path), remedy="mend it or take it out")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    return torch.from_numpy(np.array(square.resize((size_px, size_px), Image.Resampling.BICUBIC))).permute(2, 0, 1)
