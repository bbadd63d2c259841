"""Train one CGN for natural images from the networks that fetch_weights wrote."""

import argparse
import logging
import shutil
from pathlib import Path

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.config import changed, load_params
from cgn.files import replacing_folder
from cgn.generators.imagenet_sheets import save_sheet
from cgn.generators.imagenet_training import ImagenetCgnTraining, ImagenetRun
from cgn.training import Record
from stages.common import Argv, one_of, parser, run
from stages.imagenet import CHECKPOINT_KIND, device, frozen, new_cgn, weights_digest
from stages.training import Scratch, drive, scalars_csv, set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--recipe", required=True)
    options.add_argument("--change", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--weights", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--record", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the mechanisms' checkpoint and the training record: scalars.csv and sheets over fixed classes."""
    args = parse(argv)
    params = load_params(args.params)
    change = one_of(params.imagenet_ablation, args.change, "--change")
    recipe = changed(one_of(params.imagenet_cgn, args.recipe, "--recipe"), change)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    cgn = new_cgn(args.weights, scale.networks, truncation=recipe.truncation)
    teacher, vgg = (frozen(kind, args.weights, scale.networks) for kind in ("biggan", "vgg"))
    trained_on = weights_digest(args.weights)
    inputs = {
        "recipe": recipe.model_dump(),
        "networks": scale.networks.model_dump(),
        "train": scale.train.model_dump(),
        "compute": params.compute.model_dump(),
        "seed": args.seed,
    }
    training = ImagenetCgnTraining(
        recipe, cgn, teacher, vgg, ImagenetRun(scale.train, params.compute.precision, args.seed)
    )
    scratch = Scratch(Path(params.runtime.scratch), {"stage": "train_imagenet", "trained_on": trained_on, **inputs})
    sheets = scratch.folder / "sheets"
    sheets.mkdir(parents=True, exist_ok=True)
    log.info(
        "train_imagenet: %s, %s, %d steps of %d images on %s",
        args.recipe,
        args.change,
        training.num_steps,
        training.effective_batch,
        device(),
    )

    def observe(_: Record) -> None:
        save_sheet(training, sheets)

    records = drive(training, scratch, observe=observe)
    with replacing_folder(args.record) as record, replacing_folder(args.out) as out:
        (record / "scalars.csv").write_text(scalars_csv(records))
        shutil.copytree(sheets, record / "sheets")
        save_checkpoint(out / FILE_NAME, training.weights(), kind=CHECKPOINT_KIND, config=inputs, trained_on=trained_on)
    scratch.clear()


if __name__ == "__main__":
    run(main)
