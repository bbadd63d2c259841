"""Gather the cells that the lists name into one page, one table and one summary."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.evaluation.report import Inputs, write_report
from cgn.files import replacing_folder
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True, choices=("demo", "full"))
    options.add_argument("--metrics", required=True, type=Path)
    options.add_argument("--sheets", required=True, type=Path)
    options.add_argument("--measured", required=True, type=Path)
    options.add_argument("--explained", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the page, the tables and the summary."""
    args = parse(argv)
    params = load_params(args.params)
    log.info("report: scale %s, data sets %s", args.scale, ", ".join(params.datasets_run))
    with replacing_folder(args.out) as folder:
        inputs = Inputs(args.metrics, args.sheets, args.measured, args.explained)
        num_rows = write_report(folder, params=params, scale=args.scale, inputs=inputs)
    log.info("report: %d numbers in %s", num_rows, args.out)


if __name__ == "__main__":
    run(main)
