"""One cell of the sweep: a number of counterfactuals, how many share a shape, and how many images are real."""

import argparse
import logging
from pathlib import Path

import torch

from cgn.checkpoints import FILE_NAME, check_origin, load_checkpoint
from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.classifiers.prediction import predict
from cgn.config import ErmConfig, SplitName, load_params
from cgn.errors import InputError
from cgn.evaluation.quality import effectiveness
from cgn.files import sha256, write_json
from cgn.generators.counterfactuals import counterfactuals
from cgn.shards import MANIFEST, read_split, splits_of
from stages.common import Argv, one_of, parser, run
from stages.generators import load_generator, originals_of
from stages.training import Scratch, drive, set_compute

log = logging.getLogger(__name__)

_TEST_SETS = ("test", "paper_test")


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--dataset", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--num-images", required=True, type=int)
    options.add_argument("--cf-ratio", required=True, type=int)
    options.add_argument("--real-percent", required=True, type=int)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the cell's accuracies; every cell's classifier takes the same number of steps."""
    args = parse(argv)
    params = load_params(args.params)
    if not 0 <= args.real_percent < 100 or not 1 <= args.cf_ratio <= args.num_images:
        raise InputError(
            f"--cf-ratio and --real-percent: found {args.cf_ratio} and {args.real_percent}, expected 1 to "
            f"{args.num_images} (--num-images) and 0 to 99"
        )
    scale = one_of(params.scales, args.scale, "--scale")
    set_compute(params.compute)
    path = args.checkpoint / FILE_NAME
    check_origin(load_checkpoint(path, kind="generator"), path, dataset=args.dataset, seed=args.seed)
    generator, config = load_generator(path)
    pixels, shapes = [], []
    size = scale.generate.images_per_shard
    sizes = [min(size, args.num_images - first) for first in range(0, args.num_images, size)]
    originals = originals_of(
        args.real, config, dataset=args.dataset, parts=sizes, cf_ratio=args.cf_ratio, seed=args.seed
    )
    for shard_index, num_images in enumerate(sizes):
        part, factors = counterfactuals(
            generator,
            num_images,
            originals=originals[shard_index],
            cf_ratio=args.cf_ratio,
            hard_masks=args.dataset in config.hard_masks,
            precision=params.compute.precision,
            seed=args.seed,
            shard_index=shard_index,
        )
        pixels.append(part)
        shapes.append(factors.shape)
    sources: dict[SplitName, Source] = {"generated": Source(torch.cat(pixels), torch.cat(shapes))}
    mix: dict[SplitName, float] = {"generated": 1 - args.real_percent / 100}
    if args.real_percent:
        sources["train"] = Source(*read_split(args.real, "train")[:2])
        mix["train"] = args.real_percent / 100
    inputs = {
        "stage": "sweep",
        "trained_on": [sha256(args.real / MANIFEST), sha256(path)],
        "cell": [args.num_images, args.cf_ratio, args.real_percent, args.seed],
        "budget": scale.classifier.model_dump(),
        "compute": params.compute.model_dump(),
    }
    scratch = Scratch(Path(params.runtime.scratch), inputs)
    training = ClassifierTraining(
        ErmConfig(rule="erm", mix=mix),
        sources,
        scale.classifier,
        precision=params.compute.precision,
        seed=args.seed,
    )
    drive(training, scratch)
    accuracy = {}
    for name in _TEST_SETS:
        if name in splits_of(args.real):
            test = read_split(args.real, name)
            predicted, _ = predict(training.network, test.pixels, precision=params.compute.precision)
            accuracy[name] = effectiveness(predicted, test.labels)
    write_json(args.out, {"accuracy": accuracy, "images_seen": training.num_steps * scale.classifier.batch_size})
    log.info("sweep: %s", accuracy)
    scratch.clear()


if __name__ == "__main__":
    run(main)
