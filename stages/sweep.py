"""One cell of the sweep: a number of counterfactuals, how many share a shape, and how many images are real."""

import argparse
import logging
from pathlib import Path

from cgn.checkpoints import FILE_NAME
from cgn.config import load_params
from cgn.errors import InputError
from cgn.files import sha256, write_json
from cgn.shards import MANIFEST
from stages.cells import accuracy_after, counterfactual_images
from stages.common import Argv, one_of, parser, run
from stages.generators import load_generator
from stages.training import Scratch, rates, set_compute

log = logging.getLogger(__name__)


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
    share = one_of(params.classifier.plain_area_lr_share, args.dataset, "--dataset")
    set_compute(params.compute)
    path = args.checkpoint / FILE_NAME
    generator, config = load_generator(path, dataset=args.dataset, seed=args.seed)
    budget = scale.generate.model_copy(update={"num_images": args.num_images, "cf_ratio": args.cf_ratio})
    precision = params.compute.precision
    generated, shapes = counterfactual_images(
        generator, config, real=args.real, dataset=args.dataset, budget=budget, precision=precision, seed=args.seed
    )
    inputs = {
        "stage": "sweep",
        "trained_on": [sha256(args.real / MANIFEST), sha256(path)],
        "cell": [args.num_images, args.cf_ratio, args.real_percent, args.seed],
        "generate": budget.model_dump(),
        "budget": rates(scale.classifier, plain_area_lr_share=share),
        "compute": params.compute.model_dump(),
    }
    scratch = Scratch(Path(params.runtime.scratch), inputs)
    accuracy = accuracy_after(
        generated,
        real=args.real,
        real_share=args.real_percent / 100,
        scale=scale,
        precision=precision,
        seed=args.seed,
        plain_area_lr_share=share,
        scratch=scratch,
    )
    size = scale.classifier.batch_size
    images_seen = -(-scale.classifier.num_images // size) * size
    write_json(args.out, {"accuracy": accuracy, "images_seen": images_seen, "shapes": shapes})
    log.info("sweep: %s", accuracy)
    scratch.clear()


if __name__ == "__main__":
    run(main)
