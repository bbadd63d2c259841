"""How long the evaluation of one small classifier of natural images takes, and what it finds: accuracy, shape bias, BG-Gap, challenge.

The classifier is a published SqueezeNet; the sets are a thousand photographs, one per class of ImageNet, the cue-conflict stimuli, and a
small ImageNet-9 of predicted masks, made of some of the photographs: all eight variants, as `build_in9` makes them. What is timed is
what `predict_imagenet` and `score_imagenet` do, decoding and writing included; building is not.

Usage: python -m benchmarks.imagenet_evaluation [--weights FILE] [--samples FOLDER] [--in9 FOLDER] [--cues FOLDER]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import prepare, report, second_part, seconds
from cgn.config import (
    ClassifierWeights,
    EvaluationConfig,
    ImagenetScale,
    ImagesConfig,
    In9Config,
    Params,
    SetsConfig,
)
from cgn.data.image_tables import list_images, write_images
from cgn.evaluation.imagenet_inference import Inference, predict_challenge, predict_set
from cgn.evaluation.imagenet_predictions import (
    CHALLENGE,
    CHALLENGE_SCHEMA,
    CUE_CONFLICT,
    PREDICTIONS,
    PREDICTIONS_SCHEMA,
    TableWriter,
    writing,
)
from cgn.evaluation.imagenet_scores import score
from cgn.evaluation.imagenet_sets import Evaluation, Sources, evaluation_sets
from cgn.models.backbones import fetch_backbone, load_backbone
from cgn.models.ensemble import HeadedClassifier, form_of, headed
from stages.build_in9 import build
from stages.devices import device

SHARED = Path("../shared")
QUALITIES = ("all", "good_relaxed")  # of the predicted masks: every image, or those that look right
_SIZE_PX = 224


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
        train, _ = second_part(args.samples, None, folder)
        config = ImagesConfig(source="folder", train=train, val=str(args.samples), val_share=None)
        _listed(folder / "images", config)
        for quality in QUALITIES:
            in9 = _in9(args.in9, quality, folder / quality, params.imagenet_scales["tiny"], params)
            sets = SetsConfig(
                cue_conflict=str(args.cues),
                stylized_train=None,
                stylized_val=None,
                imagenet_a=None,
                imagenet_sketch=None,
                released_in9=None,
            )
            sources = Sources(folder / "images", in9, config, sets, "benchmark")
            budget = EvaluationConfig(num_train=1, challenge_backgrounds=args.backgrounds, batch_size=args.batch_size)
            evaluation = evaluation_sets(sources, budget, network.classes)
            taken = _predicted(network, evaluation, how, folder / f"predictions-{quality}", args.backgrounds)
            started = time.perf_counter()
            scores = score(folder / f"predictions-{quality}", seed=0)
            taken["score"] = time.perf_counter() - started
            found[quality] = _summary(scores, taken)
    report("imagenet_evaluation", device=str(how.device), precision=how.precision, batch_size=args.batch_size, **found)


def _summary(scores: Mapping[str, Any], taken: Mapping[str, float]) -> dict[str, Any]:
    metrics = scores["predictors"]["only"]
    in9 = sum(time for name, time in taken.items() if name.startswith("in9_"))
    return {
        "images_per_variant": scores["protocol"]["num_images"]["in9_original"],
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
            taken[images.name] = seconds(partial(_add, table, predict_set(network, images, how)))
    with writing(folder / CHALLENGE, CHALLENGE_SCHEMA, metadata) as table:
        (challenge,) = evaluation.challenges
        rows = predict_challenge(network, challenge, how, num_backgrounds=num_backgrounds)
        taken["challenge"] = seconds(partial(_add, table, rows))
    return taken


def _add(table: TableWriter, parts: Iterable[Mapping[str, Any]]) -> None:
    for rows in parts:
        table.add(rows)


def _squeezenet(weights: Path, folder: Path) -> HeadedClassifier:
    fetch_backbone(ClassifierWeights(source="path", name="squeezenet1_0", location=str(weights), sha256=None), folder)
    backbone = load_backbone(folder)
    form = form_of(backbone, heads=("only",), classes="imagenet", cut=1, linear=False, image_px=_SIZE_PX)
    return headed(backbone, form, seed=0, config={}).eval()


def _in9(source: Path, quality: str, folder: Path, scale: ImagenetScale, params: Params) -> Path:
    """The small ImageNet-9, built by `build_in9` as a user's own images and masks are."""
    for row in json.loads((source / "index.json").read_text(encoding="utf-8")):
        if quality == "all" or row[quality]:
            for kind in ("original", "mask"):
                link = folder / kind / row["wnid"] / Path(row["file"]).name
                link.parent.mkdir(parents=True)
                link.symlink_to((source / kind / row["file"]).absolute())
    train, masks = second_part(folder / "original", folder / "mask", folder)
    config = ImagesConfig(source="folder", train=train, val=str(folder / "original"), val_share=None)
    given = In9Config(
        masks="given",
        masks_from=masks,
        mix_by="mask",
        size_px=_SIZE_PX,
        max_per_class=None,
        jpeg_quality=95,
        images_per_shard=1000,
    )
    _listed(folder / "images", config)
    small = scale.model_copy(update={"images": config, "in9": given})
    num_workers = params.runtime.generate_workers
    build(folder / "in9", images=folder / "images", weights=folder, scale=small, num_workers=num_workers)
    return folder / "in9"


def _listed(folder: Path, config: ImagesConfig) -> None:
    folder.mkdir()
    write_images(folder, list_images(folder, config))


def _only(folder: Path, pattern: str) -> Path:
    return next(iter(sorted(folder.glob(pattern))), folder / pattern)


if __name__ == "__main__":
    main()
