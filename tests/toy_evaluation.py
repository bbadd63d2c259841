"""Images whose colours say of which classes their object and their background are, and classifiers that read them off."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_mixes import write_mixes
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn

from cgn.data.image_tables import list_images, write_images
from cgn.data.imagenet9 import VARIANTS
from cgn.data.imagenet_classes import IN9, SIXTEEN
from cgn.shards.mixes import FG_MASK, Sample

ROOT = Path(__file__).parents[1]
PX = 32
BLACK = -1  # no object, or no background
FIRST = {place: ranges[0][0] for place, ranges in enumerate(IN9.values())}  # ImageNet's class, by that of ImageNet-9
CATEGORIES = tuple(SIXTEEN)
PER_CLASS = 2
FOREGROUNDS = [(label, number) for label in range(9) for number in range(PER_CLASS)]
COLOURS = 14  # levels apart: JPEG changes some


def picture(inner: int, outer: int) -> Image.Image:
    """An object of one colour in the middle before another: of numbers from 0 to 15, or BLACK."""
    grey = np.full((PX, PX), _level(outer), dtype=np.uint8)
    grey[PX // 4 : -PX // 4, PX // 4 : -PX // 4] = _level(inner)
    return Image.fromarray(grey).convert("RGB")


def encoded(image: Image.Image, form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image.save(file, form, **({"quality": 95} if form == "JPEG" else {}))
    return file.getvalue()


def _level(number: int) -> int:
    return 0 if number == BLACK else COLOURS * (number + 2)


def _read(pixels: Tensor, *, inner: bool) -> Tensor:
    """The number that a colour stands for; 0 of black."""
    place = pixels.shape[2] // 2 if inner else 2
    return (pixels[:, 0, place, place].float() / COLOURS).round().long().sub(2).clamp(min=0)


class Toy(nn.Module):
    """A classifier that reads numbers off images, and names a class for each."""

    image_px, resize_px, interpolation = PX, PX, "bilinear"

    def __init__(
        self,
        read: Mapping[str, Callable[[Tensor], Tensor]],
        *,
        classes: str = "imagenet",
        numbers: Sequence[int] | None = None,
    ) -> None:
        """`read` has a function per head, from pixels to numbers; `numbers` the class of each, of ImageNet-9's by default."""
        super().__init__()
        self.read, self.classes, self.heads = dict(read), classes, tuple(read)
        self.numbers = torch.tensor(numbers or (list(FIRST.values()) if classes == "imagenet" else range(9)))
        self.config = {"method": {"rule": "toy"}, "seed": 0, "mean": [0.0] * 3, "std": [1.0] * 3}

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        assert pixels.dtype == torch.uint8
        logits = {}
        for weight, (head, read) in enumerate(self.read.items(), start=1):
            named = self.numbers[read(pixels).clamp(max=len(self.numbers) - 1)]
            one_hot = nn.functional.one_hot(named, 1000 if self.classes == "imagenet" else 9)
            # Earlier heads are surer, so that averages decide as the first of theirs.
            logits[head] = one_hot.float() * 20 / weight
        return logits


def by_shape(pixels: Tensor) -> Tensor:
    return _read(pixels, inner=True)


def by_background(pixels: Tensor) -> Tensor:
    return _read(pixels, inner=False)


def constant(pixels: Tensor) -> Tensor:
    return torch.full((len(pixels),), 3)


def backgrounds_of(variant: str) -> list[int]:
    """The class of every foreground's background in a variant, in order; in mixed_rand never its own."""
    shifts = {"mixed_next": 1}
    places = []
    for number, (label, _) in enumerate(FOREGROUNDS):
        shift = 1 + number % 8 if variant == "mixed_rand" else shifts.get(variant, 0)
        places.append((label + shift) % 9)
    return places


def write_in9(folder: Path, *, variants: Sequence[str] = (*VARIANTS, FG_MASK), part: str = "val") -> Path:
    """A shard set of ImageNet-9 whose objects and backgrounds tell their classes."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    for variant in variants:
        rows = samples.setdefault((part, variant), [])
        for (label, number), background in zip(FOREGROUNDS, backgrounds_of(variant), strict=True):
            inner = BLACK if variant in ("no_fg", "only_bg_b") else background if variant == "only_bg_t" else label
            outer = BLACK if variant == "only_fg" else background
            image = encoded(mask_picture(), "PNG") if variant == FG_MASK else encoded(picture(inner, outer))
            alone = variant in ("only_fg", FG_MASK)
            rows.append(
                Sample(
                    image,
                    label,
                    FIRST[label],
                    f"{label}-{number}",
                    None if alone else FIRST[background],
                    None if alone else f"{background}-{number}",
                )
            )
    write_mixes(folder, samples, images_per_shard=7, seed=0)
    return folder


def mask_picture() -> Image.Image:
    grey = np.zeros((PX, PX), dtype=np.uint8)
    grey[PX // 4 : -PX // 4, PX // 4 : -PX // 4] = 255
    return Image.fromarray(grey)


def write_photographs(folder: Path, numbers: Sequence[int]) -> None:
    """Pictures in folders of ImageNet's form: of number n, class FIRST[n], and object and background of its colour; in another folder
    another file of them, with a word behind the picture.
    """
    wnids = {FIRST[0]: "n02085620", FIRST[1]: "n01514668", FIRST[2]: "n02701002", FIRST[3]: "n01664065"}
    for place, number in enumerate(numbers):
        path = folder / wnids[FIRST[number]] / f"{folder.name}_{place}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number, number)) + folder.name.encode())


def write_cues(folder: Path, pairs: Sequence[tuple[int, int]]) -> None:
    """Cue conflict whose objects have the colour of the shape's category, and backgrounds that of the texture's."""
    for number, (shape, texture) in enumerate(pairs):
        path = folder / CATEGORIES[shape] / f"{CATEGORIES[shape]}{number}-{CATEGORIES[texture]}{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(shape, texture).save(path)


def write_params(folder: Path, **changes: Any) -> Path:
    """A params.yaml of one thread, with fields of `imagenet_scales.tiny`, by their dotted names, set otherwise."""
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["imagenet"] = ["tiny"]
    content["compute"] = {"threads": 1, "precision": "float32"}
    for name, value in changes.items():
        *sections, field = name.split("__")
        place = content["imagenet_scales"]["tiny"]
        for section in sections:
            place = place[section]
        place[field] = value
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return path


def list_photographs(folder: Path, config: Any) -> None:
    """What fetch_images writes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_images(folder, list_images(folder, config))
