"""Fetch digits and textures from the source that the scale names into one folder."""

import argparse
import logging
from pathlib import Path

from cgn.config import load_params
from cgn.data.sources import fetch_digits, write_digits
from cgn.data.texture_files import fetch_textures, write_textures
from cgn.files import replacing_folder
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True, choices=("demo", "full"))
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write digits.safetensors and textures/ into the output folder."""
    args = parse(argv)
    config = one_of(load_params(args.params).scales, args.scale, "--scale").fetch
    log.info("fetch: digits %s, textures %s", config.digits, config.textures)
    digits, textures = fetch_digits(config), fetch_textures(config)
    with replacing_folder(args.out) as folder:
        write_digits(folder, digits)
        write_textures(folder / "textures", textures)
    log.info("fetch: %s", ", ".join(f"{len(part.labels)} {split}" for split, part in digits.items()))


if __name__ == "__main__":
    run(main)
