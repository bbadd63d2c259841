"""Explain the classifiers of natural images that the lists name: where each of their heads looks, first where heads disagree."""

import argparse
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from cgn.checkpoints import FILE_NAME
from cgn.config import ExplainConfig, load_params
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.data.preprocessing import as_pixels, evaluation_pixels
from cgn.encoded import Encoded
from cgn.errors import InputError
from cgn.evaluation import imagenet_attribution as attribution
from cgn.evaluation import imagenet_overlays as overlays
from cgn.evaluation.figures import save_image
from cgn.evaluation.imagenet_classifier_runs import listed
from cgn.evaluation.imagenet_explained import EXPLAINED, VARIANTS
from cgn.files import replacing_folder, write_json
from cgn.models.ensemble import HeadedClassifier, load_classifier_checkpoint
from cgn.pictures import open_picture
from cgn.shards.mixes import FG_MASK, read_mixes
from stages.common import Argv, one_of, parser, run
from stages.devices import device
from stages.training import set_compute

log = logging.getLogger(__name__)

_PART = "val"
_COMPARED = 20  # images that heads are compared on, per image that is explained
_FEW = "fewer than two images have any attribution"
_REMEDY = "delete its folder and run `dvc repro build_in9`"


class Sample(NamedTuple):
    """An image of ImageNet-9, and the mask of its object."""

    row: Mapping[str, Any]  # of the manifest
    image: Encoded
    mask: Encoded

    def object(self, size_px: tuple[int, int]) -> Float[Tensor, "1 height width"]:
        """The mask: 1 on the object."""
        what = f"{self.mask.path}: the mask of {self.row['foreground_image']}"
        opened = open_picture(self.mask.read(), formats=["PNG"], what=what, remedy=_REMEDY).convert("L")
        fitted = opened.resize(size_px, Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(fitted))[None].float() / 255


class Samples(NamedTuple):
    """Images of one variant."""

    variant: str
    samples: Sequence[Sample]

    def pictures(self, network: HeadedClassifier) -> UInt8[Tensor, "images 3 height width"]:
        """As a classifier sees them."""
        size, mode = network.image_px, network.interpolation
        return torch.stack(
            [
                evaluation_pixels(one.image.read(), None, size, interpolation=mode, what=one.row["key"])
                for one in self.samples
            ]
        )

    def objects(self, network: HeadedClassifier) -> Float[Tensor, "images 1 height width"]:
        """Their masks, of the same size."""
        return torch.stack([one.object((network.image_px, network.image_px)) for one in self.samples])


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--checkpoints", required=True, type=Path)
    options.add_argument("--in9", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write what heads say and how much of their attribution falls on objects as JSON, and pictures of where they look."""
    args = parse(argv)
    params = load_params(args.params)
    config = one_of(params.imagenet_scales, args.scale, "--scale").explain
    set_compute(params.compute)
    seed = params.seeds[0]
    paths = {one: args.checkpoints / one.name / str(seed) / FILE_NAME for one in listed(params)}
    ensembles = [one for one in paths if params.imagenet_methods[one.method].rule == "ensemble"]
    with replacing_folder(args.out) as folder:
        sets, described = [], {}
        compared_sets = [
            Samples(variant, _in_turn(some)[: _COMPARED * config.num_images])
            for variant, some in _read(args.in9).items()
        ]
        by_ensemble = {one.name: _opinions(_load(paths[one], seed), compared_sets) for one in ensembles}
        for compared in compared_sets:
            variant = compared.variant
            opinions = {name: of_one[variant] for name, of_one in by_ensemble.items()}
            places = attribution.chosen(list(opinions.values()), len(compared.samples), config.num_images)
            taken = Samples(variant, [compared.samples[place] for place in places])
            sets.append(taken)
            described[variant] = [
                _drawn(folder, variant, sample, {name: of_one[place] for name, of_one in opinions.items()})
                for sample, place in zip(taken.samples, places, strict=True)
            ]
        content = {
            "protocol": _protocol(config, seed, [len(taken.samples) for taken in sets]),
            "images": described,
            "classifiers": {
                one.name: _explained(folder, one.name, _load(path, seed), sets, config=config, seed=seed)
                for one, path in paths.items()
            },
        }
        write_json(folder / EXPLAINED, content)
    num = sum(len(taken.samples) for taken in sets)
    log.info("explain_imagenet: %d classifiers on %d images in %s", len(paths), num, args.out)


def _protocol(config: ExplainConfig, seed: int, counts: Sequence[int]) -> dict[str, Any]:
    return {
        "seed": seed,
        "num_images": dict(zip(VARIANTS, counts, strict=True)),
        "compared": f"held-out images, class by class in turn, up to {_COMPARED * config.num_images}; those on which heads name "
        "different classes of ImageNet-9 are explained before others",
        "explained": "the class that a head finds likeliest, in float32, whatever the tables' precision; what speaks for it alone",
        attribution.GRAD_CAM: "of the last maps on the way to a head",
        attribution.OCCLUSION: f"a grey square of {config.occlusion_px} px, moved by half its side",
        attribution.LIME: f"squares of {config.occlusion_px} px, {config.lime_samples} draws per image",
    }


# ---- images


def _read(in9: Path) -> dict[str, list[Sample]]:
    """Images by variant. Raises: InputError where one has no mask."""
    masks = {row["foreground_image"]: image for row, image in _pictures(in9, FG_MASK)}
    by_variant = {}
    for variant in VARIANTS:
        found = _pictures(in9, variant)
        if lacking := [row["foreground_image"] for row, _ in found if row["foreground_image"] not in masks]:
            raise InputError(
                f"{in9}: found no {FG_MASK} of {lacking[0]}, expected one of every image of {variant}; {_REMEDY}"
            )
        by_variant[variant] = [Sample(row, image, masks[row["foreground_image"]]) for row, image in found]
    return by_variant


def _pictures(in9: Path, variant: str) -> list[tuple[Mapping[str, Any], Encoded]]:
    rows = read_mixes(in9, _PART, variant).to_pylist()
    return [(row, Encoded(in9 / row["shard"], row["offset"], row["size"])) for row in rows]


def _in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """The first image of every class, then the second, and so on."""
    turns: Counter[int] = Counter()
    order = []
    for place, one in enumerate(samples):
        label = one.row["label"]
        order.append((turns[label], label, place))
        turns[label] += 1
    return [samples[place] for _, _, place in sorted(order)]


def _drawn(folder: Path, variant: str, sample: Sample, opinions: Mapping[str, int]) -> dict[str, Any]:
    """Save an image with its object's outline; returns what is known of it."""
    row, names = sample.row, tuple(IN9)
    what = f"{sample.image.path}: {row['key']}"
    picture = open_picture(sample.image.read(), formats=["JPEG"], what=what, remedy=_REMEDY).convert("RGB")
    pixels, mask = as_pixels(picture), sample.object(picture.size)
    file = f"images/{variant}/{row['key']}.png"
    save_image(folder / file, overlays.strip([overlays.outlined(pixels, mask)]))
    background = row["background_class"]
    behind = -1 if background is None else int(coarse_labels(IN9)[background])
    return {
        "key": row["key"],
        "picture": file,
        "label": names[row["label"]],
        "background": None if behind < 0 else names[behind],
        "object_area": mask.mean().item(),
        "num_opinions": dict(opinions),
    }


# ---- classifiers


def _load(path: Path, seed: int) -> HeadedClassifier:
    """Raises: InputError where the checkpoint is missing, damaged or of another seed."""
    return load_classifier_checkpoint(path, seed=seed).to(device())


def _opinions(network: HeadedClassifier, compared: Sequence[Samples]) -> dict[str, list[int]]:
    """By variant how many kinds of class the heads name."""
    found = {}
    for some in compared:
        logits = attribution.head_logits(network, some.pictures(network))
        found[some.variant] = attribution.num_opinions(logits, network.classes)
    return found


def _explained(
    folder: Path, name: str, network: HeadedClassifier, sets: Sequence[Samples], *, config: ExplainConfig, seed: int
) -> dict[str, Any]:
    """What a classifier's heads say of the images, and where they look; pictures of that are saved."""
    heads: dict[str, dict[str, Any]] = {head: {} for head in network.heads}
    for taken in sets:
        pictures, objects = taken.pictures(network), taken.objects(network)
        logits = attribution.head_logits(network, pictures)
        predicted = {head: of_head.argmax(1) for head, of_head in logits.items()}
        maps, lacking = _looks(attribution.Question(network, pictures, predicted), config, seed)
        for head in network.heads:
            files = [f"heads/{name}/{taken.variant}/{one.row['key']}-{head}.png" for one in taken.samples]
            of_head = {explainer: by_head[head] for explainer, by_head in maps.items()}
            for place, file in enumerate(files):
                shown = [
                    overlays.overlay(pictures[place], of_one[place], objects[place]) for of_one in of_head.values()
                ]
                save_image(folder / file, overlays.strip(shown))
            shares = {explainer: attribution.shares_on(found, objects) for explainer, found in of_head.items()}
            means = {explainer: attribution.mean_share(found, objects) for explainer, found in of_head.items()}
            few = {explainer: _FEW for explainer, mean in means.items() if mean is None}
            heads[head][taken.variant] = {
                "share": {explainer: mean._asdict() for explainer, mean in means.items() if mean is not None},
                "absent": {**lacking, **few},
                "images": _said(network, logits[head], taken, shares, files),
            }
    log.info("explain_imagenet: %s, heads %s", name, ", ".join(network.heads))
    return {"classes": network.classes, "heads": heads}


def _looks(
    question: attribution.Question, config: ExplainConfig, seed: int
) -> tuple[dict[str, dict[str, attribution.Maps]], dict[str, str]]:
    """Where heads look, by explainer, and why some of them cannot say."""
    maps, lacking = {}, {}
    for explainer in attribution.EXPLAINERS:
        try:
            maps[explainer] = attribution.explain(explainer, question, config, seed=seed)
        except InputError as error:  # a backbone without maps is an empty cell, not the end of the other explainers
            lacking[explainer] = str(error)
    return maps, lacking


def _said(
    network: HeadedClassifier,
    logits: Float[Tensor, "images classes"],
    taken: Samples,
    shares: Mapping[str, Sequence[float | None]],
    files: Sequence[str],
) -> list[dict[str, Any]]:
    names = attribution.class_names(network.classes)
    named = attribution.kinds(logits.argmax(1), network.classes).tolist()
    return [
        {
            "answers": [[names[one], share] for one, share in zip(*answer, strict=True)],
            "right": named[place] == taken.samples[place].row["label"],
            "share": {explainer: of_one[place] for explainer, of_one in shares.items()},
            "picture": files[place],
        }
        for place, answer in enumerate(attribution.answers(logits))
    ]


if __name__ == "__main__":
    run(main)
