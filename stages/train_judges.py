"""Train what counterfactuals are judged by: a classifier per true factor, and one of digits' outlines."""

import argparse
import logging
from pathlib import Path

from cgn.checkpoints import save_checkpoint
from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.config import ErmConfig, load_params
from cgn.data.digit_masks import digit_masks
from cgn.data.sources import read_digits
from cgn.files import replacing_folder, sha256
from cgn.shards import MANIFEST, check_name, read_split
from stages.common import Argv, one_of, parser, run
from stages.training import Scratch, drive, rates, set_compute

log = logging.getLogger(__name__)

SEED = 0  # judges are part of the measure: the seeds of params.yaml vary what is measured
JUDGED = ("shape", "texture", "background", "mask")


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--dataset", required=True)
    options.add_argument("--raw", required=True, type=Path)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write a checkpoint per judge; `measure` says how well each does on test images."""
    args = parse(argv)
    params = load_params(args.params)
    check_name(args.real, args.dataset)
    set_compute(params.compute)
    scale = one_of(params.scales, args.scale, "--scale")
    short = scale.classifier.model_copy(update={"num_images": scale.judge.num_images})
    method = ErmConfig(rule="erm", mix={"unbiased": 1.0})
    real = read_split(args.real, "unbiased")
    shape_share = one_of(params.classifier.plain_area_lr_share, args.dataset, "--dataset")
    masks, mask_labels = digit_masks(
        read_digits(args.raw, "train"), one_of(dict(params.datasets), args.dataset, "--dataset")
    )
    sources = {name: Source(real.pixels, getattr(real.factors, name)) for name in JUDGED[:3]}
    sources["mask"] = Source(masks, mask_labels)
    trained_on = sha256(args.real / MANIFEST)
    config = {"dataset": args.dataset, "compute": params.compute.model_dump(), "seed": SEED}
    root = Path(params.runtime.scratch)
    scratches = []
    with replacing_folder(args.out) as folder:
        for name, source in sources.items():
            if bool((source.labels < 0).any()):
                continue  # a data set without this factor
            log.info("train_judges: %s of %s", name, args.dataset)
            budget, share = short, 1.0
            if name == "shape":  # takes the longest to learn, as classifiers learn it
                budget, share = scale.classifier, shape_share
            inputs = {"judge": name, "budget": rates(budget, plain_area_lr_share=share), **config}
            scratches.append(Scratch(root, {"stage": "train_judges", "trained_on": trained_on, **inputs}))
            training = ClassifierTraining(
                method,
                {"unbiased": source},
                budget,
                precision=params.compute.precision,
                seed=SEED,
                plain_area_lr_share=share,
            )
            drive(training, scratches[-1])
            path = folder / f"{name}.safetensors"
            save_checkpoint(path, training.weights(), kind="judge", config=inputs, trained_on=trained_on)
    for scratch in scratches:
        scratch.clear()


if __name__ == "__main__":
    run(main)
