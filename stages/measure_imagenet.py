"""Measure a CGN for natural images: masks, what saliency says of them, how near the teacher they stay, what judges say of images."""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch

from cgn.config import ImagenetMeasureBudget, Precision, load_params
from cgn.evaluation.imagenet_quality import LayerQuality, layer_quality
from cgn.files import write_json
from cgn.generators.imagenet_cgn import ImagenetCgn, micro_batches
from cgn.models.judges import load_classifier, load_inception
from cgn.rng import stream
from stages.common import Argv, one_of, parser, run
from stages.devices import device, enough_memory
from stages.imagenet import frozen, load_cgn
from stages.imagenet_judging import effectiveness, image_quality
from stages.training import set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--weights", required=True, type=Path)
    options.add_argument("--judges", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--metrics", required=True, type=Path)
    return options.parse_args(argv)


@torch.no_grad()
def main(argv: Argv = None) -> None:
    """Write the metrics, with the protocol that they depend on."""
    args = parse(argv)
    params = load_params(args.params)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    cgn, checkpoint = load_cgn(args.checkpoint, args.weights, scale.networks, seed=args.seed)
    teacher = frozen("biggan", args.weights, scale.networks)
    config = scale.measure
    field = f"imagenet_scales.{args.scale}"
    with enough_memory(f"{field}.measure.micro_batch", config.micro_batch):
        sums = _layers_measured(cgn, teacher, config, precision=params.compute.precision, seed=args.seed)
    protocol = {
        "num_images": config.num_images,
        "classes": "one per image for all mechanisms, uniform over all thousand",
        "truncation": cgn.truncation,
        "saliency": scale.networks.saliency,
        "vgg": scale.networks.vgg,
        "size_px": scale.networks.size_px,
        "trained_for_steps": scale.train.num_steps,
        "effective_batch": scale.train.effective_batch or checkpoint.config["recipe"]["effective_batch"],
    }
    precision, inception, classifier = (
        params.compute.precision,
        load_inception(args.judges),
        load_classifier(args.judges),
    )
    with enough_memory(f"{field}.image_quality.micro_batch", scale.image_quality.micro_batch):
        judged = {
            "image_quality": image_quality(
                cgn,
                teacher,
                inception,
                scale.image_quality,
                size_px=scale.networks.size_px,
                precision=precision,
                seed=args.seed,
            ),
            "effectiveness": effectiveness(cgn, classifier, scale.image_quality, precision=precision, seed=args.seed),
        }
    write_json(args.metrics, {"protocol": protocol, **sums, **judged})
    log.info("measure_imagenet: %s", ", ".join(f"{name} {value:.3g}" for name, value in sums.items()))


def _layers_measured(
    cgn: ImagenetCgn, teacher: Any, config: ImagenetMeasureBudget, *, precision: Precision, seed: int
) -> dict[str, float]:
    """What is measured of masks, composites and backgrounds, each a mean over images."""
    noise, labels = cgn.draw_training_inputs(config.num_images, stream(seed, "measure_imagenet"))
    sums = dict.fromkeys(LayerQuality._fields, 0.0)
    for some_noise, some_labels in micro_batches(noise, labels, config.micro_batch, device()):
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bfloat16"):
            layers = cgn(some_noise, some_labels)
            composite = layers.composite
            target = teacher(some_noise.shape, teacher.embed(some_labels.shape), cgn.truncation)
            saliency = {"composite": cgn.saliency(composite), "background": cgn.saliency(layers.background)}
        quality = layer_quality(
            layers.mask.float(),
            composite.float(),
            target.float(),
            composite_saliency=saliency["composite"].float(),
            background_saliency=saliency["background"].float(),
        )
        for name, value in quality._asdict().items():
            sums[name] += value * len(some_labels.shape) / config.num_images
    return sums


if __name__ == "__main__":
    run(main)
