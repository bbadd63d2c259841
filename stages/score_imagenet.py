"""Turn the predictions of a classifier of natural images into its metrics, of every predictor apart."""

import argparse
import logging
from pathlib import Path

from cgn.evaluation.imagenet_scores import one_line_of, score
from cgn.files import write_json
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--predictions", required=True, type=Path)
    options.add_argument("--metrics", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the metrics, with the protocol that they depend on."""
    args = parse(argv)
    log.info("score_imagenet: %s", args.predictions)
    scores = score(args.predictions, seed=args.seed)
    write_json(args.metrics, scores)
    log.info("score_imagenet: %s", one_line_of(scores))


if __name__ == "__main__":
    run(main)
