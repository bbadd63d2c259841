"""Where classifiers of natural images find what they learn from: training parts alone."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from cgn.classifiers.imagenet_sources import EncodedImages, Prepare, SwappedImages, TrainingImages, of_in9
from cgn.config import EnsembleMethod, ImagenetErm, ImagenetScale, LastLayerMethod, RealSource
from cgn.data.image_sets import read_class_folders
from cgn.data.image_tables import IMAGES, read_images
from cgn.data.preprocessing import Square, evaluation_pixels, training_pixels
from cgn.encoded import Samples
from cgn.errors import InputError
from cgn.files import sha256
from cgn.models.ensemble import ClassifierForm
from cgn.shards import IMAGENET_PREFIX, MANIFEST, name_of, read_manifest
from cgn.shards.encoded import encoded_split
from cgn.shards.mixes import FG_MASK, foreground_images, mix_samples, read_mix_manifest

_TRAIN = "train"
_IN9 = "in9_"


class Folders(NamedTuple):
    """What other stages wrote."""

    images: Path
    in9: Path
    generated: Path | None


class SourceSetting(NamedTuple):
    """How images of all sources are read."""

    folders: Folders
    scale: ImagenetScale
    form: ClassifierForm
    seed: int


def augmented(form: ClassifierForm) -> Prepare:
    """A random part of a picture, as training has it."""
    return functools.partial(_augmented, form.image_px, form.interpolation)


def unchanged(form: ClassifierForm, *, photographs: bool) -> Prepare:
    """A picture as evaluation has it: of photographs the middle, of other pictures, which were cut before, the whole."""
    return functools.partial(_unchanged, form.resize_px if photographs else None, form.image_px, form.interpolation)


def real_sources(
    names: Mapping[RealSource, float], setting: SourceSetting, *, augment: bool
) -> dict[str, TrainingImages]:
    """The training images of every source of a mix, with labels of the form's classes; without `augment` as evaluation shows them.

    Raises: InputError where a source is missing, damaged or without images of these classes.
    """
    found: dict[str, TrainingImages] = {}
    for name in names:
        photographs = name in {"images", "stylized"}
        prepare = augmented(setting.form) if augment else unchanged(setting.form, photographs=photographs)
        if name == "swapped":
            found[name] = swapped(setting, prepare)
        else:
            samples = _in_classes(_read(name, setting), setting.form, of=0, what=name)
            found[name] = EncodedImages(samples, prepare, seed=setting.seed, name=name)
    return found


def counterfactuals(kind: str, setting: SourceSetting) -> TrainingImages:
    """What an ensemble's heads learn their factors from: a generator's images, or `swapped`.

    Raises: InputError where they are missing, damaged, no ImageNet's, or without images of the form's classes.
    """
    prepare = augmented(setting.form)
    if kind == "swapped":
        return swapped(setting, prepare)
    folder = setting.folders.generated
    if folder is None:
        raise InputError(
            "counterfactuals: found 'generated', so --generated must name a shard set of generate_imagenet"
        )
    if not (made := name_of(read_manifest(folder))).startswith(IMAGENET_PREFIX):
        raise InputError(f"{folder}: found images of {made}, expected those of an ImageNet CGN")
    samples = _in_classes(encoded_split(folder, "generated"), setting.form, of=None, what="generated")
    return EncodedImages(samples, prepare, seed=setting.seed, name="generated")


def swapped(setting: SourceSetting, prepare: Prepare) -> SwappedImages:
    """Objects of the training part's originals before the tiled backgrounds of others, by the images' names.

    Raises: InputError where an image has no mask or no background.
    """
    folder = setting.folders.in9
    parts = [
        _in_classes(_by_image(folder, variant), setting.form, of=0, what=f"in9_{variant}")
        for variant in ("original", FG_MASK, "only_bg_t")
    ]
    objects, masks, backgrounds = parts
    return SwappedImages(objects, masks, backgrounds, prepare, seed=setting.seed, name="swapped")


def digest_of(method: ImagenetErm | LastLayerMethod | EnsembleMethod, setting: SourceSetting) -> str:
    """What tells the images that a method learns from: SHA-256s of the tables that list them.

    Raises: InputError where a table is missing.
    """
    folders, names = setting.folders, set(method.mix)
    digests = []
    if "images" in names:
        digests.append(_digest(folders.images / IMAGES))
    if "stylized" in names:
        digests.append(_files_digest(Path(str(setting.scale.sets.stylized_train))))
    made = method.counterfactuals if isinstance(method, EnsembleMethod) else ""
    if made == "swapped" or "swapped" in names or any(name.startswith(_IN9) for name in names):
        digests.append(_digest(folders.in9 / MANIFEST))
    if made == "generated" and folders.generated is not None:
        digests.append(_digest(folders.generated / MANIFEST))
    return "+".join(digests)


def _digest(table: Path) -> str:
    if not table.is_file():
        raise InputError(f"{table} is missing; run `dvc repro` to make it")
    return sha256(table)


def _augmented(image_px: int, interpolation: str, image: Image.Image, rng: torch.Generator) -> Square:
    return training_pixels(image, image_px, rng, interpolation=interpolation)


def _unchanged(
    resize_px: int | None, image_px: int, interpolation: str, image: Image.Image, _: torch.Generator
) -> Square:
    return evaluation_pixels(image, resize_px, image_px, interpolation=interpolation)


def _read(name: RealSource, setting: SourceSetting) -> Samples:
    if name == "images":
        return read_images(setting.folders.images, setting.scale.images, _TRAIN)
    if name == "stylized":
        if (folder := setting.scale.sets.stylized_train) is None:
            raise InputError("sets.stylized_train: found nothing, expected Stylized-ImageNet's folder; see params.yaml")
        return read_class_folders(Path(folder))
    return mix_samples(setting.folders.in9, _TRAIN, name.removeprefix(_IN9))


def _in_classes(samples: Samples, form: ClassifierForm, *, of: int | None, what: str) -> Samples:
    return of_in9(samples, of=of, what=what) if form.classes == "in9" else samples


def _by_image(folder: Path, variant: str) -> Samples:
    """A variant's training images in the order of `original`'s."""
    samples = mix_samples(folder, _TRAIN, variant)
    manifest = read_mix_manifest(folder)
    rows, wanted = (foreground_images(manifest, _TRAIN, name) for name in (variant, "original"))
    places = {image: place for place, image in enumerate(rows)}
    if missing := [image for image in wanted if image not in places]:
        raise InputError(f"{folder}: found no {variant} of {missing[0]}, expected one; run `dvc repro build_in9`")
    order = [places[image] for image in wanted]
    return Samples(
        [samples.images[place] for place in order], [samples.keys[place] for place in order], samples.classes[order]
    )


def _files_digest(folder: Path) -> str:
    """SHA-256 over the names and sizes of a folder's files: their contents are too many to read."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    return digest.hexdigest()
