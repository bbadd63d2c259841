"""Gather what classifiers of natural images were scored and what they look at, all that the lists name, into one page and its tables."""

import argparse
import logging
from pathlib import Path

from cgn.checkpoints import load_checkpoint
from cgn.config import load_params
from cgn.evaluation.imagenet_classifiers_report import Inputs, write_imagenet_classifiers_report
from cgn.files import replacing_folder
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)

_RANDOM = "random"


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--metrics", required=True, type=Path)
    options.add_argument("--explained", required=True, type=Path)
    options.add_argument("--backbone", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the page and its tables."""
    args = parse(argv)
    params = load_params(args.params)
    one_of(params.imagenet_scales, args.scale, "--scale")
    backbone = load_checkpoint(args.backbone / "backbone.safetensors", kind="weights").config
    is_random = backbone["source"] == _RANDOM
    inputs = Inputs(args.metrics, args.explained, backbone["name"], backbone["source"], is_random)
    with replacing_folder(args.out) as folder:
        num_rows = write_imagenet_classifiers_report(folder, params=params, scale=args.scale, inputs=inputs)
    if is_random:
        log.info(
            "report_imagenet_classifiers: scale %s proves the road and not the method: random backbone", args.scale
        )
    log.info("report_imagenet_classifiers: %d numbers in %s", num_rows, args.out)


if __name__ == "__main__":
    run(main)
