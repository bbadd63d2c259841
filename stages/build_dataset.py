"""Make the images of one data set from digits and textures, and write them as shards."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.data import DATASETS, NO_TEXTURES, UNBIASED, make_split
from cgn.data.sources import read_digits
from cgn.data.texture_files import read_textures
from cgn.mnist import ENVIRONMENTS
from cgn.rng import stream
from cgn.shards import Batch, write_shard_set
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)

IMAGES_PER_SHARD = 10_000
SEED = 0  # data sets are frozen: the seeds of params.yaml vary what is trained on them


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True, choices=("demo", "full"))
    options.add_argument("--dataset", required=True, choices=sorted(DATASETS))
    options.add_argument("--raw", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--environments", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the splits train, val, val_unbiased, unbiased and every test set of the scale; and, as a set of its own, so
    that a further one does not change what generators learn from, the environments.
    """
    args = parse(argv)
    params = load_params(args.params)
    config = getattr(params.datasets, args.dataset)
    textures = read_textures(args.raw / "textures") if DATASETS[args.dataset].textured else NO_TEXTURES
    # split -> the digits it is made of, and how often a cue equals the label
    recipe: dict[str, tuple[str, float]] = {
        "train": ("train", config.correlation),
        "val": ("val", config.correlation),
        "val_unbiased": ("val", UNBIASED),
        "unbiased": ("train", UNBIASED),
        **{name: (name, UNBIASED) for name in one_of(params.scales, args.scale, "--scale").build_dataset.test_sets},
    }
    environments = {name: ("train", ENVIRONMENTS[name]) for name in params.environments}
    for folder, parts in ((args.out, recipe), (args.environments, environments)):
        log.info("build_dataset: %s, splits %s", args.dataset, ", ".join(parts))
        splits = {}
        for split, (digits_split, correlation) in parts.items():
            digits = read_digits(args.raw, digits_split)
            rng = stream(SEED, args.dataset, split)
            splits[split] = Batch(
                *make_split(args.dataset, digits, config=config, correlation=correlation, rng=rng, textures=textures)
            )
        write_shard_set(folder, name=args.dataset, seed=SEED, splits=splits, images_per_shard=IMAGES_PER_SHARD)
        log.info("build_dataset: %s", ", ".join(f"{len(part.labels)} {split}" for split, part in splits.items()))


if __name__ == "__main__":
    run(main)
