"""How long the evaluation of one small classifier of natural images takes, and what it finds: accuracy, shape bias, BG-Gap, challenge.

The classifier is a published SqueezeNet; the sets are a thousand photographs, one per class of ImageNet, the cue-conflict stimuli, and a
small ImageNet-9 of predicted masks, made of some of the photographs: all eight variants of it, composed here. What is timed is
what `predict_imagenet` and `score_imagenet` do, decoding and writing included; composing is not.

Usage: python -m benchmarks.imagenet_evaluation [--weights FILE] [--samples FOLDER] [--in9 FOLDER] [--cues FOLDER]
"""

import argparse
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks.common import prepare, report, seconds
from cgn.config import ClassifierWeights, EvaluationConfig, ImagesConfig, SetsConfig
from cgn.data.image_tables import list_images, write_images
from cgn.data.imagenet9 import (
    MIXED,
    VARIANTS,
    Box,
    Cutout,
    Picture,
    box_blackened,
    box_of,
    box_tiled,
    is_eligible,
    mixed,
    object_alone,
    object_removed,
    plan_mixes,
)
from cgn.evaluation.imagenet_inference import Inference, predict_challenge, predict_set
from cgn.evaluation.imagenet_predictions import (
    CHALLENGE,
    CHALLENGE_SCHEMA,
    CUE_CONFLICT,
    PREDICTIONS,
    PREDICTIONS_SCHEMA,
    writing,
)
from cgn.evaluation.imagenet_scores import score
from cgn.evaluation.imagenet_sets import Evaluation, Sources, evaluation_sets
from cgn.models.backbones import fetch_backbone, load_backbone
from cgn.models.ensemble import HeadedClassifier, form_of, headed
from cgn.rng import stream
from cgn.shards.mixes import FG_MASK, Sample, write_mixes
from stages.imagenet import device

SHARED = Path("../shared")
QUALITIES = ("all", "good_relaxed")  # of the predicted masks: every image, or those that look right
_ALONE = ("only_fg", FG_MASK)
_SIZE_PX = 224


class _Entry(NamedTuple):
    """An image of the small ImageNet-9."""

    cutout: Cutout
    label: int
    number: int  # ImageNet's class
    name: str


def main() -> None:
    """Evaluate, and print seconds and numbers."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--weights", type=Path, default=_only(SHARED / "weights/squeezenet1_0", "*.pth"))
    options.add_argument("--samples", type=Path, default=SHARED / "data/imagenet_samples")
    options.add_argument("--in9", type=Path, default=SHARED / "data/in9_mini")
    options.add_argument("--cues", type=Path, default=SHARED / "data/cue_conflict")
    options.add_argument("--backgrounds", type=int, default=20, help="of the challenge, per foreground")
    options.add_argument("--batch-size", type=int, default=64)
    args = options.parse_args()
    params = prepare()
    how = Inference(params.compute.precision, args.batch_size, device(), params.compute.threads)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside)
        network = _squeezenet(args.weights, folder / "backbone").to(how.device)
        config = ImagesConfig(source="folder", train=str(args.samples), val=str(args.samples), val_share=None)
        (folder / "images").mkdir()
        write_images(folder / "images", list_images(folder / "images", config))
        for quality in QUALITIES:
            entries = _entries(args.in9, quality)
            _write_variants(folder / f"in9-{quality}", entries)
            sets = SetsConfig(
                cue_conflict=str(args.cues),
                stylized_train=None,
                stylized_val=None,
                imagenet_a=None,
                imagenet_sketch=None,
                released_in9=None,
            )
            sources = Sources(folder / "images", folder / f"in9-{quality}", config, sets, "benchmark")
            budget = EvaluationConfig(num_train=1, challenge_backgrounds=args.backgrounds, batch_size=args.batch_size)
            evaluation = evaluation_sets(sources, budget, network.classes)
            taken = _predicted(network, evaluation, how, folder / f"predictions-{quality}", args.backgrounds)
            scores: dict[str, Any] = {}
            taken["score"] = seconds(lambda q=quality, s=scores: s.update(score(folder / f"predictions-{q}", seed=0)))  # type: ignore[misc]
            found[quality] = _summary(scores, taken, len(entries))
    report("imagenet_evaluation", device=str(how.device), precision=how.precision, batch_size=args.batch_size, **found)


def _summary(scores: Mapping[str, Any], taken: Mapping[str, float], num: int) -> dict[str, Any]:
    metrics = scores["predictors"]["only"]
    in9 = sum(time for name, time in taken.items() if name.startswith("in9_"))
    return {
        "images_per_variant": num,
        "seconds": {
            "cue_conflict_and_in9": round(taken[CUE_CONFLICT] + in9 + taken["score"], 1),
            "photographs": round(taken["val"], 1),
            "challenge": round(taken["challenge"], 1),
        },
        "photographs": metrics["val"],
        "shape_bias": metrics["cue_conflict"]["shape_bias"],
        "in9": metrics["in9"],
        "fall_from_mixed_same_to_mixed_rand": metrics["background_gap"],
        "challenge": metrics["challenge"],
    }


def _predicted(
    network: HeadedClassifier, evaluation: Evaluation, how: Inference, folder: Path, num_backgrounds: int
) -> dict[str, float]:
    """Write both tables; the seconds that each set and the challenge took."""
    folder.mkdir()
    taken: dict[str, float] = {}
    metadata = {"classes": network.classes, "heads": list(network.heads), "protocol": {}, "absent": evaluation.absent}
    with writing(folder / PREDICTIONS, PREDICTIONS_SCHEMA, metadata) as table:
        for images in evaluation.sets:
            taken[images.name] = seconds(lambda of=images: [table.add(rows) for rows in predict_set(network, of, how)])  # type: ignore[misc]
    with writing(folder / CHALLENGE, CHALLENGE_SCHEMA, metadata) as table:
        (challenge,) = evaluation.challenges
        taken["challenge"] = seconds(
            lambda: [
                table.add(rows) for rows in predict_challenge(network, challenge, how, num_backgrounds=num_backgrounds)
            ]
        )
    return taken


def _squeezenet(weights: Path, folder: Path) -> HeadedClassifier:
    fetch_backbone(ClassifierWeights(source="path", name="squeezenet1_0", location=str(weights), sha256=None), folder)
    backbone = load_backbone(folder)
    form = form_of(backbone, heads=("only",), classes="imagenet", cut=1, linear=False, image_px=_SIZE_PX)
    return headed(backbone, form, seed=0, config={}).eval()


# ---- the small ImageNet-9


def _entries(folder: Path, quality: str) -> list[_Entry]:
    """Its images that the original's rules let in."""
    crop = Box(0, 0, _SIZE_PX, _SIZE_PX)
    entries = []
    for row in json.loads((folder / "index.json").read_text(encoding="utf-8")):
        if quality != "all" and not row[quality]:
            continue
        pixels, mask = (
            _pixels(folder / kind / row["file"], mode) for kind, mode in (("original", "RGB"), ("mask", "L"))
        )
        if bool((mask > 127).any()) and is_eligible(box := box_of(mask), crop):
            name = Path(row["file"]).stem
            entries.append(_Entry(Cutout(pixels, mask, box), row["in9"], row["imagenet_index"], name))
    return entries


def _write_variants(target: Path, entries: Sequence[_Entry]) -> None:
    tiled = [box_tiled(entry.cutout) for entry in entries]
    labels = torch.tensor([entry.label for entry in entries])
    samples: dict[tuple[str, str], list[Sample]] = {}
    for variant in (*VARIANTS, FG_MASK):
        own = [(number, number) for number in range(len(entries))]
        plan = plan_mixes(labels, variant, stream(0, "benchmark", variant)) if variant in MIXED else own
        samples["val", variant] = [_sample(variant, entries[front], entries[back], tiled[back]) for front, back in plan]
    write_mixes(target, samples, images_per_shard=100, seed=0)


def _sample(variant: str, front: _Entry, back: _Entry, background: Picture) -> Sample:
    pictures = {
        "original": lambda: front.cutout.pixels,
        "only_bg_b": lambda: box_blackened(front.cutout),
        "only_bg_t": lambda: background,
        "no_fg": lambda: object_removed(front.cutout),
        "only_fg": lambda: object_alone(front.cutout),
        FG_MASK: lambda: front.cutout.mask,
    }
    picture = mixed(front.cutout, background) if variant in MIXED else pictures[variant]()
    behind = (None, None) if variant in _ALONE else (back.number, back.name)
    return Sample(_encoded(picture, variant), front.label, front.number, front.name, *behind)


def _encoded(picture: torch.Tensor, variant: str) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(picture.permute(1, 2, 0).squeeze(2).numpy())
    if variant == FG_MASK:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=95)
    return file.getvalue()


def _pixels(path: Path, mode: str) -> torch.Tensor:
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert(mode)))
    return pixels.permute(2, 0, 1) if mode == "RGB" else pixels[None]


def _only(folder: Path, pattern: str) -> Path:
    return next(iter(sorted(folder.glob(pattern))), folder / pattern)


if __name__ == "__main__":
    main()
