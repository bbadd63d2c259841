"""Let a classifier predict the images of the training, environment, validation and test splits."""

import argparse
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cgn.checkpoints import FILE_NAME, check_origin, load_checkpoint, load_into
from cgn.classifiers.prediction import predict
from cgn.config import load_params
from cgn.mnist import ENVIRONMENTS
from cgn.models.classifiers import Cnn
from cgn.schemas import PREDICTIONS_SCHEMA, write_table
from cgn.shards import check_name, name_of, read_manifest, read_split, splits_of
from stages.common import Argv, parser, run
from stages.training import set_compute

log = logging.getLogger(__name__)

_NOT_PREDICTED = {"unbiased", "val_unbiased"}  # what the oracle trains on, and what an aid selects by
_TRAINED_ON = {"train", *ENVIRONMENTS}
_MAX_TRAINING_IMAGES = 10_000  # enough for the training accuracy to three digits


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--environments", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the prediction table."""
    args = parse(argv)
    params = load_params(args.params)
    set_compute(params.compute)
    path = args.checkpoint / FILE_NAME
    network = Cnn()
    checkpoint = load_checkpoint(path, kind="classifier")
    dataset = name_of(read_manifest(args.real))
    check_origin(checkpoint, path, dataset=dataset, seed=args.seed)
    check_name(args.environments, dataset)
    load_into(network, checkpoint.tensors, path)
    tables = []
    sets = [(one, split) for one in (args.real, args.environments) for split in splits_of(one)]
    for folder, split in sets:
        if split in _NOT_PREDICTED:
            continue
        manifest = read_manifest(folder)
        at_most = _MAX_TRAINING_IMAGES if split in _TRAINED_ON else None
        rows = manifest.filter(pc.equal(manifest["split"], split)).slice(0, at_most)
        pixels = read_split(folder, split, at_most=at_most).pixels
        predicted, confidence = predict(network, pixels, precision=params.compute.precision)
        columns = {
            "test_set": [split] * rows.num_rows,
            "head": [checkpoint.config["label"]] * rows.num_rows,
            "seed": [args.seed] * rows.num_rows,
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
        }
        arrays = [
            pa.array(columns[field.name]).cast(field.type) if field.name in columns else rows[field.name]
            for field in PREDICTIONS_SCHEMA
        ]
        tables.append(pa.Table.from_arrays(arrays, schema=PREDICTIONS_SCHEMA))
        log.info("predict: %s, %d images", split, rows.num_rows)
    write_table(args.out, pa.concat_tables(tables))


if __name__ == "__main__":
    run(main)
