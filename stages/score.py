"""Turn the predictions of one cell into its metrics."""

import argparse
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cgn.errors import InputError
from cgn.evaluation.accuracy import COLUMNS, score
from cgn.files import write_json
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--predictions", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def read_predictions(path: Path) -> pa.Table:
    """A table of predictions.

    Raises: InputError where it is missing, torn or lacks a column that scoring needs.
    """
    remedy = "run `dvc repro predict predict_with`"
    if not path.is_file():
        raise InputError(f"{path}: found no file, expected a table of predictions; {remedy}")
    try:
        table: pa.Table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}); delete it and {remedy}") from error
    if missing := sorted(COLUMNS - set(table.schema.names)):
        raise InputError(f"{path}: found no columns {', '.join(missing)}, expected them; delete it and {remedy}")
    return table


def main(argv: Argv = None) -> None:
    """Write every metric of every test set as JSON."""
    args = parse(argv)
    log.info("score: %s", args.predictions)
    scores = score(read_predictions(args.predictions))
    write_json(args.out, scores)
    log.info("score: %s", ", ".join(f"{name} {metrics['accuracy']:.4f}" for name, metrics in scores.items()))


if __name__ == "__main__":
    run(main)
