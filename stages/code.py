"""List the code behind every stage: the modules that it imports, each with a digest of what it does.

A stage depends on its list in place of files. So a change reruns the stages that import it and no others, comments, docstrings
and layout rerun nothing, a new import needs no line in dvc.yaml, and dvc.lock, which DVC writes anew after every stage,
holds one hash per stage instead of one per file.
"""

import argparse
import logging
from pathlib import Path

from cgn.files import replacing_file
from stages.common import Argv, parser, run
from stages.listing import listing, programs

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write one list per stage."""
    args = parse(argv)
    for stage in programs():
        with replacing_file(args.out / stage) as beside:
            beside.write_text(listing(stage), encoding="utf-8")


if __name__ == "__main__":
    run(main)
