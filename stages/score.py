"""Turn the predictions of one cell into its metrics."""

import argparse
import logging
from pathlib import Path

from cgn.evaluation.accuracy import score
from cgn.files import write_json
from cgn.schemas import FACTORS, PREDICTIONS_SCHEMA, read_table
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--predictions", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write every metric of every test set as JSON."""
    args = parse(argv)
    log.info("score: %s", args.predictions)
    remedy = "delete it and run `dvc repro predict predict_with`"
    scores = score(read_table(args.predictions, PREDICTIONS_SCHEMA, classes=(*FACTORS, "predicted"), remedy=remedy))
    write_json(args.out, scores)
    log.info("score: %s", ", ".join(f"{name} {metrics['accuracy']:.4f}" for name, metrics in scores.items()))


if __name__ == "__main__":
    run(main)
