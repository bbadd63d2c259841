"""Mixes in the layout that ImageNet-9 was released in, for the scripts of the Backgrounds Challenge.

Source: Xiao et al. 2020, their repository backgrounds_challenge: classes are numbered by the order of their folders, images have to be RGB
of one size, and a mask lies beside the original of its name as an array of zeros and ones.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from cgn.encoded import Encoded
from cgn.errors import InputError
from cgn.files import replacing_folder
from cgn.pictures import open_picture
from cgn.shards.manifest import REMEDY
from cgn.shards.mixes import FG_MASK, read_mix_manifest, read_mixes

_MASK_SUFFIX = "npy"  # the challenge replaces it by JPEG wherever it stands in a file's name
_MIXED = "mixed_"
_OBJECT_ABOVE = 127


def export_mixes(folder: Path, target: Path, part: str, class_folders: Sequence[str]) -> int:
    """Write one part of a set of mixes in the released layout, and return how many files there are.

    They are `<variant>/<part>/<class>/<image>.JPEG`, with the very bytes that the set holds, where mixes are called
    fg_<image>_bg_<image>, and `fg_mask/<part>/<class>/<image>.npy`.
    Raises: InputError where `target` exists, the set is not whole, or a class has no images, without which the others would be
    numbered wrongly.
    """
    if target.exists():
        raise InputError(f"{target}: found something there, expected nothing; name another folder, or remove it")
    manifest = read_mix_manifest(folder)
    variants = list(dict.fromkeys(manifest.filter(pc.equal(manifest["part"], part))["variant"].to_pylist()))
    if not variants:
        raise InputError(f"{folder}: found no {part}, expected one of its parts")
    num_files = 0
    with replacing_folder(target) as beside:
        for variant in variants:
            places = [beside / variant / part / name for name in class_folders]
            for place in places:
                place.mkdir(parents=True)
            for label, name, content in _files(folder, part, variant):
                with (places[label] / name).open("xb") as file:
                    file.write(content)
                num_files += 1
            if lacking := [place.name for place in places if not any(place.iterdir())]:
                raise InputError(
                    f"{folder}: found no {variant} of {', '.join(lacking)} for {part}, expected some of every class"
                )
    return num_files


def _files(folder: Path, part: str, variant: str) -> Iterator[tuple[int, str, bytes]]:
    """Class, name and content of every file of a variant."""
    rows = read_mixes(folder, part, variant)
    names = ("label", "foreground_image", "background_image", "shard", "offset", "size")
    for label, image, background, shard, offset, size in zip(*(rows[name].to_pylist() for name in names), strict=True):
        if _MASK_SUFFIX in image:
            raise InputError(
                f"{folder}: found an image called {image!r}, expected none with {_MASK_SUFFIX!r} in its name, which the "
                "challenge takes for a suffix; rename it, and run `dvc repro`"
            )
        content = Encoded(folder / shard, offset, size).read()
        if variant == FG_MASK:
            yield label, f"{image}.{_MASK_SUFFIX}", _array(content, f"{folder / shard}: {image}")
        else:
            stem = f"fg_{image}_bg_{background}" if variant.startswith(_MIXED) else image
            yield label, f"{stem}.JPEG", content


def _array(png: bytes, what: str) -> bytes:
    """A mask as an array of zeros and ones, (height, width)."""
    mask = np.asarray(open_picture(png, formats=["PNG"], what=what, remedy=REMEDY))
    file = io.BytesIO()
    np.save(file, (mask > _OBJECT_ABOVE).astype(np.uint8))
    return file.getvalue()
