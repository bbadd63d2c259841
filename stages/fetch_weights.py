"""Fetch the networks that the ImageNet CGN starts from, once, into checkpoints with their source and hash."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.files import replacing_folder
from cgn.models.pretrained import KINDS, fetch_network
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write biggan.safetensors, saliency.safetensors and vgg.safetensors into the output folder."""
    args = parse(argv)
    scale = one_of(load_params(args.params).imagenet_scales, args.scale, "--scale")
    with replacing_folder(args.out) as folder:
        for kind in KINDS:
            source = fetch_network(kind, getattr(scale.weights, kind), scale.networks, folder)
            log.info("fetch_weights: %s from %s", kind, source)


if __name__ == "__main__":
    run(main)
