"""Gather what was measured of the ImageNet CGN, every recipe, change and seed of the lists, into one page and its tables."""

import argparse
import logging
from pathlib import Path

from cgn.checkpoints import load_checkpoint
from cgn.config import load_params
from cgn.evaluation.imagenet_report import Inputs, write_imagenet_report
from cgn.files import replacing_folder
from cgn.generators.imagenet_sheets import SHEET_CLASSES
from cgn.models.pretrained import KINDS
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--weights", required=True, type=Path)
    options.add_argument("--metrics", required=True, type=Path)
    options.add_argument("--records", required=True, type=Path)
    options.add_argument("--sheets", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def untrained(weights: Path) -> list[str]:
    """The kinds of networks whose weights fetch_weights made at random.

    Raises: InputError where a file is missing or damaged.
    """
    headers = {kind: load_checkpoint(weights / f"{kind}.safetensors", kind="weights").config for kind in KINDS}
    return [kind for kind, header in headers.items() if header["source"] == "random"]


def main(argv: Argv = None) -> None:
    """Write the page and its tables."""
    args = parse(argv)
    params = load_params(args.params)
    one_of(params.imagenet_scales, args.scale, "--scale")
    inputs = Inputs(args.metrics, args.records, args.sheets, untrained(args.weights), list(SHEET_CLASSES))
    with replacing_folder(args.out) as folder:
        num_rows = write_imagenet_report(folder, params=params, scale=args.scale, inputs=inputs)
    if inputs.untrained:
        random = ", ".join(inputs.untrained)
        log.info("report_imagenet: scale %s proves the road and not the pictures: random %s", args.scale, random)
    log.info("report_imagenet: %d numbers in %s", num_rows, args.out)


if __name__ == "__main__":
    run(main)
