"""The work on ImageNet-9 that goes on side by side: finding objects, and rendering shards from the plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from cgn.data.imagenet9 import (
    MIXED,
    Box,
    Cutout,
    Picture,
    box_blackened,
    box_tiled,
    mixed,
    mixed_by_black,
    object_alone,
    object_removed,
)
from cgn.data.in9_masks import (
    Found,
    annotated_box,
    annotation_file,
    by_grabcut,
    decoded_mask,
    of_mask,
    read_annotation,
    read_mask,
)
from cgn.data.in9_pictures import LeftOut, frame_of, jpeg, read_upright, to_tensor
from cgn.encoded import Encoded
from cgn.errors import InputError
from cgn.rng import stream
from cgn.shards.manifest import ShardEntry
from cgn.shards.mixes import FG_MASK, Sample, write_mix_shard

SEED = 0  # data sets are frozen: the seeds of params.yaml vary what is trained on them


class Photograph(NamedTuple):
    """An image of one of ImageNet-9's classes, as images.parquet lists it."""

    part: str
    folder: Path  # of the part
    file: str
    stem: str
    label: int  # of ImageNet-9
    imagenet_class: int
    sha256: str

    @property
    def path(self) -> Path:
        return self.folder / self.file

    @property
    def encoded(self) -> Encoded:
        """The file, as it was listed."""
        return Encoded(self.path, sha256=self.sha256)


class Cut(NamedTuple):
    """A photograph, and where its object is."""

    photograph: Photograph
    box: Box
    mask: bytes  # a PNG


class LookJob(NamedTuple):
    """Images in which objects are to be found."""

    photographs: Sequence[Photograph]
    masks: str  # given, grabcut or saliency
    folder: Path | None  # of masks or boxes
    size_px: int


class RenderJob(NamedTuple):
    """Everything that one shard of every variant depends on, and where they go."""

    folder: Path
    part: str
    shard_index: int
    first_index: int
    foregrounds: Sequence[Cut]
    backgrounds: Mapping[str, Sequence[Cut]]  # of every variant that mixes, in the foregrounds' order
    size_px: int
    mix_by: str  # mask or black
    jpeg_quality: int


def one_thread() -> None:
    """Make this process, one of several, compute on one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def look(job: LookJob) -> list[Found | LeftOut]:
    """What is found in images by masks or boxes, in the images' order.

    Raises: InputError, naming the file, for an image that is damaged or changed, and a mask or annotation that cannot be used.
    """
    if job.folder is None:
        raise ValueError("folder: found nothing, expected one of masks or boxes")
    return [_look(photograph, job, job.folder) for photograph in job.photographs]


def _look(photograph: Photograph, job: LookJob, folder: Path) -> Found | LeftOut:
    image = read_upright(photograph.encoded.read(), str(photograph.path))
    if isinstance(image, LeftOut):
        return image
    frame = frame_of(*image.size, job.size_px)
    if job.masks == "given":
        return of_mask(read_mask(folder / Path(photograph.file).with_suffix(".png"), *image.size), frame)
    file = annotation_file(folder, photograph.file)
    if file is None:
        return LeftOut("no annotation", "")
    box = annotated_box(read_annotation(file), *image.size, frame)
    if isinstance(box, LeftOut):
        return box

    def seed_of(attempt: int) -> int:
        return stream(SEED, "grabcut", photograph.part, photograph.stem, attempt).initial_seed()

    return by_grabcut(image, box, frame, seed_of)


def squares(job: LookJob) -> list[np.ndarray | LeftOut]:
    """What is kept of images, (3, size, size), or why they are left out. Raises: InputError as `look` does."""
    kept = (_square(photograph, job.size_px) for photograph in job.photographs)
    return [one if isinstance(one, LeftOut) else one.numpy() for one in kept]


def _square(photograph: Photograph, size_px: int) -> Picture | LeftOut:
    image = read_upright(photograph.encoded.read(), str(photograph.path))
    return image if isinstance(image, LeftOut) else to_tensor(frame_of(*image.size, size_px).applied(image))


def render(job: RenderJob) -> dict[str, ShardEntry]:
    """Write a shard of every variant, and one of masks. Safe to call from several processes for different shards of one folder."""
    samples: dict[str, list[Sample]] = {}
    for place, cut in enumerate(job.foregrounds):
        backgrounds = {variant: job.backgrounds[variant][place] for variant in MIXED}
        for variant, sample in _samples(cut, backgrounds, job):
            samples.setdefault(variant, []).append(sample)
    return {
        variant: write_mix_shard(
            job.folder,
            part=job.part,
            variant=variant,
            shard_index=job.shard_index,
            first_index=job.first_index,
            samples=some,
            seed=SEED,
        )
        for variant, some in samples.items()
    }


def _samples(cut: Cut, backgrounds: Mapping[str, Cut], job: RenderJob) -> list[tuple[str, Sample]]:
    """All variants of an image, and its mask."""
    mix = mixed if job.mix_by == "mask" else mixed_by_black
    cutout = _cutout(cut, job.size_px)
    pictures = {
        "original": (cutout.pixels, cut),
        "only_bg_b": (box_blackened(cutout), cut),
        "only_bg_t": (box_tiled(cutout), cut),
        "no_fg": (object_removed(cutout), cut),
        "only_fg": (object_alone(cutout), None),
        **{name: (mix(cutout, box_tiled(_cutout(other, job.size_px))), other) for name, other in backgrounds.items()},
    }
    encoded = [(name, jpeg(picture, job.jpeg_quality), other) for name, (picture, other) in pictures.items()]
    return [
        (
            name,
            Sample(
                content,
                cut.photograph.label,
                cut.photograph.imagenet_class,
                cut.photograph.stem,
                None if other is None else other.photograph.imagenet_class,
                None if other is None else other.photograph.stem,
            ),
        )
        for name, content, other in [*encoded, (FG_MASK, cut.mask, None)]
    ]


def _cutout(cut: Cut, size_px: int) -> Cutout:
    picture = _square(cut.photograph, size_px)
    if isinstance(picture, LeftOut):  # reading it made sure that this is the image in which the object was found
        raise InputError(f"{cut.photograph.path}: found {picture.why}, expected the image that was looked at")
    return Cutout(picture, decoded_mask(cut.mask), cut.box)
