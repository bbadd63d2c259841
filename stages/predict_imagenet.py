"""Let a classifier of natural images say what it sees in every set that there is, and in the composites of the Backgrounds Challenge."""

import argparse
import logging
from pathlib import Path
from typing import Any

from cgn.checkpoints import FILE_NAME
from cgn.config import ImagesConfig, load_params
from cgn.evaluation.imagenet_inference import Inference, predict_challenge, predict_set
from cgn.evaluation.imagenet_predictions import (
    CHALLENGE,
    CHALLENGE_SCHEMA,
    PREDICTIONS,
    PREDICTIONS_SCHEMA,
    writing,
)
from cgn.evaluation.imagenet_sets import Sources, evaluation_sets
from cgn.files import replacing_folder
from cgn.models.ensemble import HeadedClassifier, load_classifier_checkpoint
from stages.common import Argv, one_of, parser, run
from stages.devices import device
from stages.training import set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--images", required=True, type=Path)
    options.add_argument("--in9", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write both tables."""
    args = parse(argv)
    params = load_params(args.params)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    network = load_classifier_checkpoint(args.checkpoint / FILE_NAME, seed=args.seed)
    sources = Sources(args.images, args.in9, scale.images, scale.sets, args.scale)
    evaluation = evaluation_sets(sources, scale.evaluate, network.classes)
    how = Inference(params.compute.precision, scale.evaluate.batch_size, device(), params.compute.threads)
    network.to(how.device)
    metadata = {
        "classes": network.classes,
        "heads": list(network.heads),
        "protocol": protocol(network, how, scale.images),
        "absent": evaluation.absent,
    }
    with replacing_folder(args.out) as folder:
        with writing(folder / PREDICTIONS, PREDICTIONS_SCHEMA, metadata) as table:
            for images in evaluation.sets:
                for rows in predict_set(network, images, how):
                    table.add(rows)
                log.info("predict_imagenet: %s, %d images", images.name, len(images.keys))
        with writing(folder / CHALLENGE, CHALLENGE_SCHEMA, metadata) as table:
            for challenge in evaluation.challenges:
                num = scale.evaluate.challenge_backgrounds
                for rows in predict_challenge(network, challenge, how, num_backgrounds=num):
                    table.add(rows)
                log.info(
                    "predict_imagenet: challenge of %s, %d objects", challenge.name, len(challenge.foregrounds.keys)
                )


def protocol(network: HeadedClassifier, how: Inference, images: ImagesConfig) -> dict[str, Any]:
    """What the numbers depend on, in words."""
    config = network.config
    return {
        "classifier": {name: config[name] for name in ("method", "backbone") if name in config},
        "photographs": f"the shorter side to {network.resize_px} px ({network.interpolation}, antialiased), the middle "
        f"{network.image_px} px, turned as their EXIF data say",
        "cut_before": f"images of ImageNet-9 and of cue conflict are shown whole, at {network.image_px} px a side",
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "precision": how.precision,
        "logits": "as float16",
        "batch_size": how.batch_size,
        "held_out": "photographs of their own"
        if images.val_share is None
        else "a share of the training folder: weights that were published for the backbone have learned from them",
        "training_images": "drawn once for all classifiers",
        "challenge_images": "background * (1 - mask) + mask * image, rounded; backgrounds are drawn once for all classifiers",
    }


if __name__ == "__main__":
    run(main)
