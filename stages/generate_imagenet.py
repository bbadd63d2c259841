"""Write counterfactuals of natural images as a shard set."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.files import replacing_folder
from cgn.generators.imagenet_counterfactuals import imagenet_counterfactuals
from cgn.shards import IMAGENET_PREFIX, Batch, write_shard, write_tables
from stages.common import Argv, one_of, parser, run
from stages.devices import enough_memory
from stages.imagenet import load_cgn
from stages.training import set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--recipe", required=True)
    options.add_argument("--change", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--weights", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the shard set, one shard after another; the manifest comes last."""
    args = parse(argv)
    params = load_params(args.params)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    cgn, _ = load_cgn(args.checkpoint, args.weights, scale.networks, seed=args.seed)
    config = scale.generate
    entries = []
    memory = enough_memory(f"imagenet_scales.{args.scale}.generate.micro_batch", config.micro_batch)
    with memory, replacing_folder(args.out) as folder:
        for index, first in enumerate(range(0, config.num_images, config.images_per_shard)):
            size = min(config.images_per_shard, config.num_images - first)
            pixels, factors = imagenet_counterfactuals(
                cgn, size, config, precision=params.compute.precision, seed=args.seed, shard_index=index
            )
            entries.append(
                write_shard(
                    folder,
                    name=f"{IMAGENET_PREFIX}{args.recipe}-{args.change}",
                    split="generated",
                    shard_index=index,
                    first_index=first,
                    batch=Batch(pixels, factors.shape, factors, low_contrast=None),
                    seed=args.seed,
                )
            )
            log.info("generate_imagenet: %d of %d images", first + size, config.num_images)
        write_tables(folder, entries)


if __name__ == "__main__":
    run(main)
