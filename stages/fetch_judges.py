"""Fetch the networks that judge the ImageNet CGN's images, once, into checkpoints with their source and hash."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.files import replacing_folder
from cgn.models.judges import fetch_classifier, fetch_inception
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write inception.safetensors and classifier.safetensors into the output folder."""
    args = parse(argv)
    weights = one_of(load_params(args.params).imagenet_scales, args.scale, "--scale").weights
    with replacing_folder(args.out) as folder:
        log.info("fetch_judges: inception from %s", fetch_inception(weights.inception, folder))
        log.info("fetch_judges: classifier from %s", fetch_classifier(weights.classifier, folder))


if __name__ == "__main__":
    run(main)
