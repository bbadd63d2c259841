"""List a folder of photographs, so that what is learned from is known by its contents; or draw some."""

import argparse
import logging
from collections import Counter
from pathlib import Path

from cgn.config import load_params
from cgn.data.drawn_images import draw_cue_conflict, draw_images
from cgn.data.image_tables import list_images, write_images
from cgn.files import replacing_folder
from stages.common import Argv, one_of, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write images.parquet, and what is drawn beside it."""
    args = parse(argv)
    scale = one_of(load_params(args.params).imagenet_scales, args.scale, "--scale")
    with replacing_folder(args.out) as folder:
        if scale.images.source == "drawn":
            draw_images(folder)
            if scale.sets.cue_conflict == "drawn":
                draw_cue_conflict(folder / "cue_conflict")
        table = list_images(folder, scale.images)
        write_images(folder, table)
    found = Counter(table["part"].to_pylist())
    classes = len(set(table["class"].to_pylist()))
    log.info("fetch_images: %d for train and %d for val, of %d classes", found["train"], found["val"], classes)


if __name__ == "__main__":
    run(main)
