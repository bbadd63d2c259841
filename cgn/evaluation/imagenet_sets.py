"""Which sets of images a classifier is evaluated on: those that are there, and why others are not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cgn.config import EvaluationConfig, ImagesConfig, SetsConfig
from cgn.config.imagenet import SETS
from cgn.data.image_sets import read_class_folders, read_cue_conflict, read_released_in9, released_mask
from cgn.data.image_tables import read_images
from cgn.data.imagenet9 import VARIANTS, Mask
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.data.preprocessing import decode_picture
from cgn.encoded import Encoded, Samples
from cgn.errors import InputError
from cgn.evaluation.imagenet_inference import ChallengeSet, EvaluationSet
from cgn.evaluation.imagenet_predictions import CUE_CONFLICT, WHOLE_SETS
from cgn.rng import stream
from cgn.shards.mixes import FG_MASK, foreground_images, mix_samples, read_mix_manifest

PART = "val"  # of ImageNet-9 built here: what no classifier learns from
_FROZEN = 0  # seed of draws that are the same for every classifier
_DRAWN = "drawn"
_NINE = "a classifier of ImageNet-9's nine classes is asked for those alone"
_FOLDERS = {"stylized": "stylized_val", "imagenet_a": "imagenet_a", "imagenet_sketch": "imagenet_sketch"}


class Sources(NamedTuple):
    """Where images lie."""

    images: Path  # what fetch_images wrote
    in9: Path  # what build_in9 wrote
    images_config: ImagesConfig
    sets: SetsConfig
    scale: str


class Evaluation(NamedTuple):
    """Everything that a classifier is shown."""

    sets: list[EvaluationSet]
    challenges: list[ChallengeSet]
    absent: dict[str, str]  # reasons, by the name of a set, of several, or of a challenge


def evaluation_sets(sources: Sources, config: EvaluationConfig, classes: str) -> Evaluation:
    """What a classifier of these classes is shown. Every folder is listed, and every shard checked, before any network runs.

    Raises: InputError where a folder that is named is missing or holds something else than it should.
    """
    found = Evaluation([], [], {})
    _add_whole_sets(found, sources, config, classes)
    _add_cue_conflict(found, sources, classes)
    _add_in9(found, sources.in9)
    _add_released(found, sources)
    return found


def _add_whole_sets(found: Evaluation, sources: Sources, config: EvaluationConfig, classes: str) -> None:
    if classes != "imagenet":
        found.absent.update(dict.fromkeys(WHOLE_SETS, _NINE))
        return
    for part in ("train", "val"):
        samples = read_images(sources.images, sources.images_config, part)
        found.sets.append(_of_classes(part, _some(samples, config.num_train) if part == "train" else samples))
    for name, field in _FOLDERS.items():
        if (folder := getattr(sources.sets, field)) is None:
            found.absent[name] = _why_not(sources, field)
        else:
            found.sets.append(_of_classes(name, read_class_folders(Path(folder))))


def _add_cue_conflict(found: Evaluation, sources: Sources, classes: str) -> None:
    folder = sources.sets.cue_conflict
    if classes != "imagenet":
        found.absent[CUE_CONFLICT] = _NINE
    elif folder is None:
        found.absent[CUE_CONFLICT] = _why_not(sources, CUE_CONFLICT)
    else:
        cues = read_cue_conflict(sources.images / CUE_CONFLICT if folder == _DRAWN else Path(folder))
        known = {"shape_category": cues.shapes, "texture_category": cues.textures}
        found.sets.append(EvaluationSet(CUE_CONFLICT, cues.samples.images, cues.samples.keys, known, photographs=False))


def _add_in9(found: Evaluation, folder: Path) -> None:
    manifest = read_mix_manifest(folder)
    stems = {variant: foreground_images(manifest, PART, variant) for variant in (*VARIANTS, FG_MASK)}
    there = [variant for variant, of_variant in stems.items() if of_variant]
    variants: dict[str, EvaluationSet] = {}
    for variant in VARIANTS:
        if variant in there:
            samples = mix_samples(folder, PART, variant)
            variants[variant] = _coarse(f"in9_{variant}", samples, stems[variant])
            found.sets.append(variants[variant])
        else:
            found.absent[f"in9_{variant}"] = f"the set has no {variant} of part {PART}"
    if lacking := [name for name in ("original", FG_MASK, "only_bg_t") if name not in there]:
        found.absent["challenge"] = f"the set has no {', '.join(lacking)} of part {PART}"
        return
    files = dict(zip(stems[FG_MASK], mix_samples(folder, PART, FG_MASK).images, strict=True))
    keys = stems["original"]
    if lacking := [key for key in keys if key not in files]:
        raise InputError(f"{folder}: found no mask of {lacking[0]}, expected one of every image; build the set anew")
    found.challenges.append(
        ChallengeSet(
            "in9",
            variants["original"]._replace(keys=keys),
            _masks([files[key] for key in keys], keys),
            variants["only_bg_t"]._replace(keys=stems["only_bg_t"]),
        )
    )


def _add_released(found: Evaluation, sources: Sources) -> None:
    if sources.sets.released_in9 is None:
        found.absent.update(dict.fromkeys(("released_in9", "released_challenge"), _why_not(sources, "released_in9")))
        return
    folder = Path(sources.sets.released_in9)
    variants: dict[str, EvaluationSet] = {}
    for variant in VARIANTS:
        if not (folder / variant).is_dir():
            found.absent[f"released_{variant}"] = f"the released set has no folder {variant}"
            continue
        images = read_released_in9(folder, variant)
        known = {"in9_label": images.labels, "foreground": images.foregrounds}
        variants[variant] = EvaluationSet(
            f"released_{variant}", images.samples.images, images.samples.keys, known, photographs=False
        )
        found.sets.append(variants[variant])
    if not variants:
        raise InputError(
            f"{folder}: found no folder of {', '.join(VARIANTS)}, expected some; it is what {SETS['sets.released_in9']}"
        )
    lacking = [name for name in ("original", "only_bg_t") if name not in variants]
    if not (folder / FG_MASK).is_dir():
        lacking.append(FG_MASK)
    if lacking:
        found.absent["released_challenge"] = f"the released set has no folder {', '.join(lacking)}"
        return
    keys = variants["original"].keys
    for key in keys:
        released_mask(folder, key)

    def mask_of(place: int) -> Mask:
        return torch.from_numpy(released_mask(folder, keys[place]))[None]

    found.challenges.append(ChallengeSet("released", variants["original"], mask_of, variants["only_bg_t"]))


def _of_classes(name: str, samples: Samples) -> EvaluationSet:
    return EvaluationSet(
        name, samples.images, samples.keys, {"label": samples.classes[:, 0].tolist()}, photographs=True
    )


def _coarse(name: str, samples: Samples, foregrounds: Sequence[str]) -> EvaluationSet:
    labels = samples.classes[:, 0]
    known = {"label": labels.tolist(), "in9_label": coarse_labels(IN9)[labels].tolist(), "foreground": foregrounds}
    return EvaluationSet(name, samples.images, samples.keys, known, photographs=False)


def _some(samples: Samples, num: int) -> Samples:
    """As many of the images, drawn once for all classifiers, in their order."""
    order = torch.randperm(len(samples.keys), generator=stream(_FROZEN, "evaluated_training_images"))
    places = order[:num].sort().values
    images, keys = ([of[place] for place in places.tolist()] for of in (samples.images, samples.keys))
    return Samples(images, keys, samples.classes[places])


def _masks(files: Sequence[Encoded], keys: Sequence[str]) -> Callable[[int], Tensor]:
    def mask_of(place: int) -> Tensor:
        grey = decode_picture(files[place].read(), f"mask of {keys[place]}").convert("L")
        return torch.from_numpy(np.array(grey))[None]

    return mask_of


def _why_not(sources: Sources, field: str) -> str:
    place = f"imagenet_scales.{sources.scale}.sets.{field}"
    return f"{place} is null; it takes {SETS[f'sets.{field}'].removesuffix(', or null')}"
