"""Sets of natural images that others made, read by path: who made them laid them out, and these readers know how."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from cgn.data.image_tables import WORDNET
from cgn.data.imagenet9 import VARIANTS
from cgn.data.imagenet_classes import IN9, SIXTEEN
from cgn.data.photographs import SUFFIXES
from cgn.encoded import Encoded, Samples
from cgn.errors import InputError

_Label = TypeVar("_Label")
_CUE = re.compile(r"([a-z]+)\d+-([a-z]+)\d+")
_MIX = re.compile(r"fg_(.+)_bg_.+")  # what a mix is called, by both its images
_COARSE = re.compile(r"0*(\d+)_.+")


class CueConflict(NamedTuple):
    """Pictures whose shape is of one of the sixteen categories and whose texture is of another, or of the same."""

    samples: Samples
    shapes: Sequence[str]
    textures: Sequence[str]


class CoarseImages(NamedTuple):
    """Pictures of which the class of ImageNet-9 is known."""

    samples: Samples
    labels: Sequence[int]
    foregrounds: Sequence[str]  # names of the images whose objects they show, with that of their class


def read_class_folders(folder: Path) -> Samples:
    """ImageNet-A, ImageNet-Sketch, Stylized-ImageNet, and others in ImageNet's form: <n01440764>/<picture>, of some classes or all.

    Keys are paths in `folder` without suffix. Of the classes that the three columns hold, all are that of the folder.
    Raises: InputError where there is no folder, no picture, a folder of no class, a file that is no picture, or two of one key.
    """

    def label(name: str, where: Path) -> int:
        if name not in WORDNET:
            raise InputError(
                f"{where}: found a folder called {name!r}, expected one of the thousand of ImageNet, such as n01440764; take it out"
            )
        return WORDNET[name]

    found = [(path, number) for path, number in _by_class(folder, label) for path in _pictures(path)]
    classes = torch.tensor([number for _, number in found])[:, None].expand(-1, 3)
    return _samples(folder, [path for path, _ in found], classes)


def read_cue_conflict(folder: Path) -> CueConflict:
    """Geirhos et al.'s stimuli: <category>/<shape><n>-<texture><n>.png, the folder called after the shape.

    Source: Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture", section 2; their repository texture-vs-shape.
    Raises: InputError as `read_class_folders` does, and where a name does not tell two of the sixteen categories.
    """

    def category(name: str, where: Path) -> str:
        return _known(name, where, "a folder called")

    files, shapes, textures = [], [], []
    for subfolder, shape in _by_class(folder, category):
        for path in _pictures(subfolder):
            match = _CUE.fullmatch(path.stem)
            if match is None or match[1] != shape:
                raise InputError(
                    f"{path}: found a picture of that name, expected {shape}<number>-<texture><number>, such as {shape}1-clock2; "
                    "rename it or take it out"
                )
            files.append(path)
            shapes.append(shape)
            textures.append(_known(match[2], path, "the texture"))
    return CueConflict(_samples(folder, files, _unknown(len(files))), shapes, textures)


def read_released_in9(folder: Path, variant: str) -> CoarseImages:
    """One variant of the Backgrounds Challenge's test set: <variant>/val/<07_primate>/<picture>.

    Source: Xiao et al. 2020; the layout is that of backgrounds_challenge_data.tar.gz.
    Raises: InputError as `read_class_folders` does, where two folders are of one class, and for a name that is no variant.
    """
    if variant not in VARIANTS:
        raise InputError(f"variant: found {variant!r}, allowed: {', '.join(VARIANTS)}")
    root = folder / variant / "val"
    seen: dict[int, str] = {}

    def label(name: str, where: Path) -> int:
        match = _COARSE.fullmatch(name)
        if match is None or int(match[1]) >= len(IN9):
            raise InputError(
                f"{where}: found a folder called {name!r}, expected one of ImageNet-9's nine classes, such as 07_primate; take it out"
            )
        number = int(match[1])
        if number in seen:
            raise InputError(f"{where}: found {seen[number]!r} and {name!r}, expected one folder of class {number}")
        seen[number] = name
        return number

    found = [(path, number) for path, number in _by_class(root, label) for path in _pictures(path)]
    samples = _samples(root, [path for path, _ in found], _unknown(len(found)))
    return CoarseImages(samples, [number for _, number in found], [_MIX.sub(r"\1", key) for key in samples.keys])


def released_mask(folder: Path, key: str) -> np.ndarray:
    """Where the object of an `original` of the released set is: fg_mask/val/<key>.npy, as (height, width) of 0 and 255.

    What is below 1 is background, as the Backgrounds Challenge's script cuts it.
    Raises: InputError where the file is missing, no array, or not of numbers from 0 to 1 in two dimensions.
    """
    path = folder / "fg_mask" / "val" / f"{key}.npy"
    if not path.is_file():
        raise InputError(f"{path} is missing, the mask of original/val/{key}; unpack the released set anew")
    try:
        mask = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: found no array of numbers ({error}); unpack the released set anew") from error
    if mask.ndim != 2 or mask.size == 0 or mask.dtype.kind not in "buif" or not ((mask >= 0) & (mask <= 1)).all():
        raise InputError(
            f"{path}: found {mask.dtype} of shape {mask.shape}, expected numbers from 0 to 1 in two dimensions; "
            "unpack the released set anew"
        )
    return np.where(mask >= 1, 255, 0).astype(np.uint8)


def _by_class(folder: Path, label: Callable[[str, Path], _Label]) -> list[tuple[Path, _Label]]:
    """The folders in a folder, in the order of their names, with what they are of; other files beside them say nothing."""
    if not folder.is_dir():
        raise InputError(f"{folder}: found no folder, expected one with a folder per class")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [(path, label(path.name, folder)) for path in subfolders]


def _pictures(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in files:
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            raise InputError(f"{path}: found no picture, expected {', '.join(sorted(SUFFIXES))} alone; take it out")
    return files


def _known(name: str, where: Path, what: str) -> str:
    if name not in SIXTEEN:
        raise InputError(f"{where}: found {what} {name!r}, allowed: {', '.join(SIXTEEN)}")
    return name


def _unknown(num: int) -> torch.Tensor:
    return torch.full((num, 3), -1)


def _samples(root: Path, files: Sequence[Path], classes: torch.Tensor) -> Samples:
    if not files:
        raise InputError(f"{root}: found no picture, expected some, a folder per class")
    keys = [path.relative_to(root).with_suffix("").as_posix() for path in files]
    by_key: dict[str, Path] = {}
    for key, path in zip(keys, files, strict=True):
        if key in by_key:
            raise InputError(f"{path}: found also {by_key[key].name}, expected one picture of a name; take one out")
        by_key[key] = path
    return Samples([Encoded(path) for path in files], keys, classes)
