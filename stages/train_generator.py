"""Train one generator on the biased training images, again with another draw where its masks collapse."""

import argparse
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.config import DatasetName, load_params
from cgn.files import replacing_folder, sha256, write_json
from cgn.generators import GENERATORS, GeneratorTraining, Run
from cgn.generators.collapse import CollapseError, MaskStatistics, check_collapse
from cgn.generators.sheets import save_sheet_when_due
from cgn.shards import MANIFEST, check_name, read_split
from cgn.training import Record
from stages.common import Argv, one_of, parser, run
from stages.training import Scratch, drive, scalars_csv, set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--dataset", required=True, choices=get_args(DatasetName))
    options.add_argument("--generator", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--record", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the checkpoint and the training record: scalars.csv, sheets and record.json."""
    args = parse(argv)
    params = load_params(args.params)
    config = one_of(params.generator, args.generator, "--generator")
    budget = one_of(params.scales, args.scale, "--scale").generator
    check_name(args.real, args.dataset)
    set_compute(params.compute)
    # Pixels and labels alone: no generator sees a factor column.
    pixels, labels = read_split(args.real, "train")[:2]
    trained_on = sha256(args.real / MANIFEST)
    inputs = {
        "dataset": args.dataset,
        "generator": config.model_dump(),
        "num_images": budget.num_images,
        "compute": params.compute.model_dump(),
        "seed": args.seed,
    }
    root = Path(params.runtime.scratch)
    recipe = GENERATORS[config.recipe]
    for attempt in range(config.retries + 1):
        scratch = Scratch(root, {"stage": "train_generator", "trained_on": trained_on, "attempt": attempt, **inputs})
        run_settings = Run(args.dataset, budget.num_images, params.compute.precision, args.seed, attempt)
        training = recipe.training(config, pixels, labels, run_settings)
        log.info(
            "train_generator: %s on %d images of %s, attempt %d", args.generator, len(labels), args.dataset, attempt + 1
        )
        sheets = scratch.folder / "sheets"
        sheets.mkdir(parents=True, exist_ok=True)
        try:
            records = drive(training, scratch, observe=_observer(training, sheets))
            final = MaskStatistics.recorded(records[-1])
            check_collapse(final, config.collapse)
            counterfactual = training.counterfactual_statistics()
            check_collapse(counterfactual, config.collapse, where=", in the masks of counterfactuals")
        except CollapseError as error:
            scratch.clear()
            if attempt == config.retries:
                raise CollapseError(
                    f"{error}; all {attempt + 1} attempts ended so: raise generator.{args.generator}.retries, "
                    "use another seed, or change the recipe"
                ) from error
            log.warning("attempt %d: %s", attempt + 1, error)
            continue
        break
    with replacing_folder(args.record) as record, replacing_folder(args.out) as out:
        (record / "scalars.csv").write_text(scalars_csv(records))
        shutil.copytree(sheets, record / "sheets")
        write_json(
            record / "record.json",
            {
                "attempts": attempt + 1,
                "images_seen": records[-1]["images_seen"],
                "final": final._asdict(),
                "counterfactual": counterfactual._asdict(),
            },
        )
        save_checkpoint(out / FILE_NAME, training.weights(), kind="generator", config=inputs, trained_on=trained_on)
    scratch.clear()


def _observer(training: GeneratorTraining, folder: Path) -> Callable[[Record], None]:
    """Draws sheets, and stops a run that has collapsed."""

    def observe(record: Record) -> None:
        save_sheet_when_due(training, folder)
        limits = training.config.collapse
        if limits and training.step > limits.after_share * training.num_steps:
            check_collapse(MaskStatistics.recorded(record), limits)

    return observe


if __name__ == "__main__":
    run(main)
