"""Validate the whole of params.yaml, and that what it points to is there, before any output is touched."""

import argparse
from pathlib import Path

from cgn.config import check_params
from cgn.files import replacing_file
from stages.common import Argv, parser, run


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write a constant: everything depends on this stage, nothing on what it writes."""
    args = parse(argv)
    check_params(args.params)
    with replacing_file(args.out) as beside:
        beside.write_text("checked\n")


if __name__ == "__main__":
    run(main)
