"""Train one CGN for natural images from the networks that fetch_weights wrote."""

import argparse
import contextlib
import functools
import logging
import shutil
from pathlib import Path

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.config import changed, load_params
from cgn.errors import InputError
from cgn.files import replacing_folder
from cgn.generators.imagenet_sheets import save_sheet
from cgn.generators.imagenet_training import ImagenetCgnTraining, ImagenetRun, TrainingStoppedError
from cgn.ranks import Ranks
from cgn.training import Record
from stages.common import Argv, one_of, parser, run
from stages.curves import Rate, curves
from stages.devices import device
from stages.imagenet import CHECKPOINT_KIND, frozen, new_cgn, weights_digest
from stages.inception_watch import inception_watch
from stages.ranks import check_processes, run_ranks, train_along
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
    """Write the mechanisms' checkpoint and the training record: scalars.csv and sheets over fixed classes.

    A run that stops because of its masks or its losses leaves the weights of that moment in the scratch folder.
    """
    args = parse(argv)
    scale = one_of(load_params(args.params).imagenet_scales, args.scale, "--scale")
    check_processes(scale.train.num_processes, f"imagenet_scales.{args.scale}.train.num_processes")
    run_ranks(scale.train.num_processes, functools.partial(train, args))


def train(args: argparse.Namespace, ranks: Ranks) -> None:
    """One process's part of the stage; the first of them writes."""
    params = load_params(args.params)
    change = one_of(params.imagenet_ablation, args.change, "--change")
    recipe = changed(one_of(params.imagenet_cgn, args.recipe, "--recipe"), change)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    cgn = new_cgn(args.weights, scale.networks, recipe, seed=args.seed)
    teacher, vgg = (frozen(kind, args.weights, scale.networks) for kind in ("biggan", "vgg"))
    trained_on = weights_digest(args.weights)
    inputs = {
        "recipe": recipe.model_dump(),
        "networks": scale.networks.model_dump(),
        "train": scale.train.model_dump(),
        "compute": params.compute.model_dump(),
        "seed": args.seed,
    }
    settings = ImagenetRun(scale.train, params.compute.precision, args.seed, ranks)
    training = ImagenetCgnTraining(recipe, cgn, teacher, vgg, settings)
    # A run that its masks have ended goes on where the limits are changed: they are no part of what is computed.
    computed = {**inputs, "recipe": recipe.model_dump(exclude={"collapse_stop"})}
    scratch = Scratch(Path(params.runtime.scratch), {"stage": "train_imagenet", "trained_on": trained_on, **computed})
    if ranks.rank:
        with contextlib.suppress(TrainingStoppedError):  # the first process says why
            train_along(training, scratch)
        return
    sheets = scratch.folder / "sheets"
    sheets.mkdir(parents=True, exist_ok=True)
    shown = scratch.folder.parent / "tensorboard" / "-".join([*args.out.parts[-3:], scratch.folder.name[:8]])
    log.info(
        "train_imagenet: %s, %s, %d steps of %d images on %s, processes: %d; curves: tensorboard --logdir %s",
        args.recipe,
        args.change,
        training.num_steps,
        training.effective_batch,
        device(),
        ranks.num,
        shown,
    )

    def save(path: Path) -> None:
        save_checkpoint(path, training.weights(), kind=CHECKPOINT_KIND, config=inputs, trained_on=trained_on)

    rate = Rate()
    watch = inception_watch(params.runtime.watch_inception, scale.weights.inception)
    with curves(shown) as draw:

        def observe(record: Record) -> None:
            save_sheet(training, sheets)
            score = None if watch is None else watch.score(training)
            speed = rate.images_per_second(record["images_seen"])
            if speed is not None:
                log.info("step %d: %.2f images/s", record["step"], speed)
            shown = {"images_per_second": speed, "inception_score": score}
            draw({**record, **{name: value for name, value in shown.items() if value is not None}})
            if training.steps_outside == 1:
                save(scratch.folder / "masks_left_limits" / FILE_NAME)

        try:
            records = drive(training, scratch, observe=observe)
        except TrainingStoppedError as error:
            save(scratch.folder / "stopped" / FILE_NAME)
            raise InputError(f"{error}; its sheets and its weights at this step are in {scratch.folder}") from error
    with replacing_folder(args.record) as record, replacing_folder(args.out) as out:
        (record / "scalars.csv").write_text(scalars_csv(records))
        shutil.copytree(sheets, record / "sheets")
        save(out / FILE_NAME)
    scratch.clear()


if __name__ == "__main__":
    run(main)
