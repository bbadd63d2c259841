"""Textures as image files: a user's folder, the download, and the folder that fetch writes."""

import re
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.config import FetchConfig
from cgn.data.textures import procedural_textures
from cgn.data.types import Texture, Textures
from cgn.errors import InputError
from cgn.mnist import IMAGE_PX, NUM_CLASSES
from cgn.pictures import open_picture

KINDS = Textures._fields  # object, background
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

# Photographs of the Describable Textures Dataset by class, as the authors of Wildlife MNIST chose them.
DTD_NUMBERS = {
    "striped": (1, 91, 8, 43, 92, 28, 97, 4, 125, 33),
    "veined": (66, 67, 73, 180, 131, 157, 158, 104, 188, 189),
}


def fetch_textures(config: FetchConfig) -> Textures:
    """Ten object and ten background textures.

    Raises: InputError for files that are missing or no images, OSError where a download fails.
    """
    if config.textures == "procedural":
        return procedural_textures()
    if config.textures == "path":
        if config.textures_path is None:
            raise InputError("textures_path: found nothing, expected a folder, because textures is 'path'")
        return read_textures(Path(config.textures_path))
    return download_textures()


def read_textures(folder: Path) -> Textures:
    """The textures in `folder`/object and `folder`/background.

    There is one jpg or png per class, and its name starts with the class.
    Raises: InputError for a missing folder, a class with no file or with two, and a file that is no picture.
    """
    return Textures(*(_read_kind(folder / kind) for kind in KINDS))


def write_textures(folder: Path, textures: Textures) -> None:
    """Write `folder`/object/<class>.png and `folder`/background/<class>.png, RGB."""
    for kind, images in zip(KINDS, textures, strict=True):
        (folder / kind).mkdir(parents=True)
        for label, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / kind / f"{label}.png")


def download_textures() -> Textures:
    """The twenty photographs from the archive of the Describable Textures Dataset (600 MB; its MD5 is checked).

    Raises: OSError where the download fails, InputError where the archive lacks a photograph.
    Source: Cimpoi et al. 2014, Describing Textures in the Wild.
    """
    from torchvision.datasets import DTD  # noqa: PLC0415  (the other sources start seconds faster without it)
    from torchvision.datasets.utils import download_url  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        try:
            download_url(DTD._URL, folder, filename="dtd.tar.gz", md5=DTD._MD5)
        except (RuntimeError, URLError, OSError) as error:
            raise OSError(
                f"{DTD._URL} could not be downloaded ({error}); try again, or set fetch.textures to 'procedural' "
                "or, with a folder of textures, to 'path'"
            ) from error
        return unpack_textures(Path(folder) / "dtd.tar.gz")


def unpack_textures(archive: Path) -> Textures:
    """The twenty photographs in the archive of the Describable Textures Dataset, by name; nothing is unpacked to disk.

    Raises: InputError where the archive lacks one.
    """
    wanted = {
        f"dtd/images/{category}/{category}_{number:04d}.jpg": (category, label)
        for category, numbers in DTD_NUMBERS.items()
        for label, number in enumerate(numbers)
    }
    found: dict[tuple[str, int], Texture] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name in wanted and member.isfile() and (file := tar.extractfile(member)) is not None:
                found[wanted[member.name]] = _decode(file.read(), member.name)
    missing = [name for name, key in wanted.items() if key not in found]
    if missing:
        raise InputError(f"{archive}: lacks {', '.join(missing)}; set fetch.textures to 'procedural' or 'path'")
    return Textures(*(_in_order({k[1]: t for k, t in found.items() if k[0] == name}) for name in DTD_NUMBERS))


def _in_order(textures: Mapping[int, Texture]) -> tuple[Texture, ...]:
    return tuple(textures[label] for label in range(NUM_CLASSES))


def _read_kind(folder: Path) -> tuple[Texture, ...]:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: found no folder, expected one with a texture per class; run `dvc repro fetch`, "
            "or correct fetch.textures_path"
        )
    paths: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
            continue
        label = re.match(r"([0-9])(?![0-9])", path.name)
        if label is None:
            raise InputError(f"{path}: found a name without a class, expected one like 3_zebra.jpg; rename it")
        if int(label[1]) in paths:
            raise InputError(
                f"{folder}: found {paths[int(label[1])].name} and {path.name}, "
                f"expected one texture of class {label[1]}; remove one"
            )
        paths[int(label[1])] = path
    missing = [label for label in range(NUM_CLASSES) if label not in paths]
    if missing:
        raise InputError(
            f"{folder}: found no texture of class {', '.join(map(str, missing))}, expected a jpg or png per class "
            f"whose name starts with it, such as {missing[0]}_zebra.jpg; add it"
        )
    return _in_order({label: _decode(path, str(path)) for label, path in paths.items()})


def _decode(source: Path | bytes, name: str) -> Texture:
    image = open_picture(source, formats=["JPEG", "PNG"], what=name, remedy="replace it")
    if min(image.size) < IMAGE_PX:
        raise InputError(
            f"{name}: found {image.width} x {image.height} pixels, expected at least {IMAGE_PX} a side; replace it"
        )
    array = np.array(image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()
