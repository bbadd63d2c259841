"""Gather the cells that the lists name into one page, one table and one summary."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.evaluation.report import write_report
from cgn.files import replacing_folder
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True, choices=("demo", "full"))
    options.add_argument("--metrics", required=True, type=Path)
    options.add_argument("--sheets", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write index.html, results.json, results.csv and summary.txt."""
    args = parse(argv)
    params = load_params(args.params)
    log.info("report: scale %s, data sets %s", args.scale, ", ".join(params.datasets_run))
    with replacing_folder(args.out) as folder:
        num_rows = write_report(folder, params=params, scale=args.scale, metrics=args.metrics, sheets=args.sheets)
    log.info("report: %d numbers in %s", num_rows, args.out)


if __name__ == "__main__":
    run(main)
