"""Draw the report's pictures of one data set: samples, counterfactuals, masks over time, training curves."""

import argparse
import logging
import shutil
from pathlib import Path

from cgn.errors import InputError
from cgn.evaluation import figures
from cgn.files import replacing_folder
from cgn.shards import name_of, read_manifest
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--dataset", required=True)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--generated", required=True, type=Path)
    options.add_argument("--record", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write four PNG sheets and a copy of the generator's record.json."""
    args = parse(argv)
    log.info("illustrate: %s", args.dataset)
    real, generated = (read_manifest(folder) for folder in (args.real, args.generated))
    for folder, manifest in ((args.real, real), (args.generated, generated)):
        if (name := name_of(manifest)).partition("-")[0] != args.dataset:
            raise InputError(f"{folder}: found images of {name}, expected those of {args.dataset}")
    with replacing_folder(args.out) as folder:
        figures.save_image(folder / "samples.png", figures.draw_samples(real, args.real))
        figures.save_image(
            folder / "counterfactuals.png",
            figures.draw_counterfactuals(generated, args.generated),
        )
        figures.save_image(folder / "timeline.png", figures.draw_timeline(args.record))
        figures.save_figure(folder / "curves.png", figures.draw_curves(figures.read_scalars(args.record)))
        shutil.copyfile(args.record / "record.json", folder / "record.json")
    log.info("illustrate: wrote %s", args.out)


if __name__ == "__main__":
    run(main)
