"""Fetch the network that classifiers of natural images start from, once, into a checkpoint with its source and hash."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.files import replacing_folder
from cgn.models.backbones import fetch_backbone
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write backbone.safetensors into the output folder."""
    args = parse(argv)
    config = one_of(load_params(args.params).imagenet_scales, args.scale, "--scale").weights.backbone
    with replacing_folder(args.out) as folder:
        log.info("fetch_backbone: %s from %s", config.name, fetch_backbone(config, folder))


if __name__ == "__main__":
    run(main)
