"""Train a generator with one thing changed; measure its masks, and a classifier that saw nothing but its images."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from cgn.config import CollapseConfig, changed, load_params
from cgn.contracts import Factors
from cgn.data.digit_masks import digit_masks
from cgn.data.sources import read_digits
from cgn.errors import InputError
from cgn.evaluation import figures, quality
from cgn.files import replacing_folder, sha256, write_json
from cgn.generators import GENERATORS, Generator, Run
from cgn.generators.collapse import CollapseError, MaskStatistics, check_collapse
from cgn.generators.sheets import save_sheet_when_due
from cgn.mnist import NUM_CLASSES
from cgn.rng import stream
from cgn.shards import MANIFEST, check_name, read_split
from cgn.training import Record
from stages.cells import accuracy_after, counterfactual_images
from stages.common import Argv, one_of, parser, run
from stages.training import Scratch, drive, set_compute

log = logging.getLogger(__name__)

_MASKS = 1000  # drawn to be held against real digits


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--dataset", required=True)
    options.add_argument("--generator", required=True)
    options.add_argument("--change", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--raw", required=True, type=Path)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--metrics", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the numbers as JSON and the masks over time as a picture. A collapse is a result here, not an error; a loss that
    is not finite is one.
    """
    args = parse(argv)
    params = load_params(args.params)
    scale = one_of(params.scales, args.scale, "--scale")
    change = one_of(params.ablation, args.change, "--change")
    base = one_of(params.generator, args.generator, "--generator")
    one = one_of(dict(params.datasets), args.dataset, "--dataset")
    share = one_of(params.classifier.plain_area_lr_share, args.dataset, "--dataset")
    if base.collapse is None:
        raise InputError(f"--generator: found {args.generator!r}, which has no masks, expected a generator with masks")
    config = changed(base, change)
    check_name(args.real, args.dataset)
    set_compute(params.compute)
    precision = params.compute.precision
    trained_on = sha256(args.real / MANIFEST)
    inputs = {
        "trained_on": trained_on,
        "dataset": args.dataset,
        "generator": config.model_dump(),
        "scale": scale.model_dump(),
        "plain_area_lr_share": share,
        "compute": params.compute.model_dump(),
        "seed": args.seed,
    }
    root = Path(params.runtime.scratch)
    scratches = [Scratch(root, {"stage": stage, **inputs}) for stage in ("ablate", "ablate_classifier")]
    sheets = scratches[0].folder / "sheets"
    sheets.mkdir(parents=True, exist_ok=True)
    run_settings = Run(args.dataset, scale.generator.num_images, precision, args.seed, attempt=0)
    training = GENERATORS[config.recipe].training(config, *read_split(args.real, "train")[:2], run_settings)
    log.info("ablate: %s with %s on %s", args.generator, dict(change) or "nothing changed", args.dataset)

    records = drive(training, scratches[0], observe=lambda _: save_sheet_when_due(training, sheets))
    statistics, counterfactual = training.statistics(), training.counterfactual_statistics()
    generated, _ = counterfactual_images(
        training.shown,
        config,
        real=args.real,
        dataset=args.dataset,
        budget=scale.generate,
        precision=precision,
        seed=args.seed,
    )
    accuracy = accuracy_after(
        generated,
        real=args.real,
        real_share=0.0,
        scale=scale,
        precision=precision,
        seed=args.seed,
        plain_area_lr_share=share,
        scratch=scratches[1],
    )
    digits = digit_masks(read_digits(args.raw, "train"), one)
    overlap = _overlap(training.shown, *digits, seed=args.seed)
    with replacing_folder(args.out) as folder:
        figures.save_image(folder / "timeline.png", figures.draw_timeline(scratches[0].folder, max_steps=4))
    write_json(
        args.metrics,
        {
            "accuracy": accuracy,
            "statistics": statistics._asdict(),
            "collapsed": int(would_be_refused(records, [statistics, counterfactual], base.collapse)),
            "mask_iou": sum(overlap) / len(overlap),
            "worst_mask_iou": min(overlap),
        },
    )
    log.info("ablate: %s", accuracy)
    for scratch in scratches:
        scratch.clear()


def would_be_refused(records: Sequence[Record], final: Sequence[MaskStatistics], limits: CollapseConfig) -> bool:
    """Whether `train_generator`, which knows no true masks, would have started anew: at a late record, or at the end."""
    late = [record for record in records if record["step"] > limits.after_share * records[-1]["step"]]
    try:
        for statistics in [*map(MaskStatistics.recorded, late), *final]:
            check_collapse(statistics, limits)
    except CollapseError as error:
        log.warning("ablate: %s", error)
        return True
    return False


@torch.inference_mode()
def _overlap(generator: Generator, real: torch.Tensor, real_labels: torch.Tensor, *, seed: int) -> list[float]:
    """Per class, how well masks from noise cover the nearest real digit's; for the report alone."""
    labels = torch.arange(NUM_CLASSES).repeat(_MASKS // NUM_CLASSES)
    noise = generator.eval().draw_noise(_MASKS, stream(seed, "ablate"))
    masks = generator(noise, Factors(labels, labels, labels)).mask
    return quality.nearest_iou(masks, labels, real[:, :1].float() / 255, real_labels)


if __name__ == "__main__":
    run(main)
