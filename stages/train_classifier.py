"""Train one classifier on the splits that its method mixes."""

import argparse
import logging
from pathlib import Path

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.config import FactorName, load_params
from cgn.errors import InputError
from cgn.files import replacing_folder, sha256, write_json
from cgn.mnist import ENVIRONMENTS
from cgn.shards import MANIFEST, check_name, name_of, read_manifest, read_split
from stages.common import Argv, one_of, parser, run
from stages.training import Scratch, drive, rates, scalars_csv, set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--method", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--environments", type=Path)
    options.add_argument("--generated", type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--record", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the checkpoint and the training record."""
    args = parse(argv)
    params = load_params(args.params)
    method = one_of(params.methods, args.method, "--method")
    budget = one_of(params.scales, args.scale, "--scale").classifier
    set_compute(params.compute)
    folders = {split: getattr(args, _option(split)) for split in method.mix}
    for split, folder in folders.items():
        if folder is None:
            raise InputError(f"methods.{args.method}.mix names {split!r}, so --{_option(split)} must name a shard set")
    dataset = name_of(read_manifest(args.real))
    if "environments" in map(_option, folders):
        check_name(args.environments, dataset)
    if args.generated and not (made := name_of(read_manifest(args.generated))).startswith(f"{dataset}-"):
        raise InputError(f"{args.generated}: found {made}, expected images made for {dataset}")
    sources = {split: _source(folder, split, method.label) for split, folder in folders.items()}
    selection = _source(args.real, method.select, "shape") if method.select else None
    # Of textures and backgrounds, plain areas are what there is to see.
    share = one_of(params.classifier.plain_area_lr_share, dataset, "--real") if method.label == "shape" else 1.0
    trained_on = "+".join(sorted({sha256(folder / MANIFEST) for folder in folders.values()}))
    config = {
        "dataset": dataset,
        **method.model_dump(),
        "budget": rates(budget, plain_area_lr_share=share),
        "compute": params.compute.model_dump(),
        "seed": args.seed,
    }
    scratch = Scratch(Path(params.runtime.scratch), {"stage": "train_classifier", "trained_on": trained_on, **config})
    precision = params.compute.precision
    training = ClassifierTraining(
        method,
        sources,
        budget,
        precision=precision,
        seed=args.seed,
        plain_area_lr_share=share,
        selection=selection,
    )
    log.info("train_classifier: %s on %s", args.method, {name: len(part.labels) for name, part in sources.items()})
    records = drive(training, scratch)
    with replacing_folder(args.record) as record, replacing_folder(args.out) as out:
        (record / "scalars.csv").write_text(scalars_csv(records))
        write_json(
            record / "record.json",
            {
                "images_seen": training.num_steps * budget.batch_size,
                "images_seen_by_source": dict(zip(method.mix, training.shares().values(), strict=True)),
                "final_loss": records[-1]["loss"],
                **(
                    {"selected_by": method.select, "selected_accuracy": training.selected_accuracy} if selection else {}
                ),
            },
        )
        save_checkpoint(out / FILE_NAME, training.weights(), kind="classifier", config=config, trained_on=trained_on)
    scratch.clear()


def _option(split: str) -> str:
    """The option that names the shard set with this split."""
    return "generated" if split == "generated" else "environments" if split in ENVIRONMENTS else "real"


def _source(folder: Path, split: str, factor: FactorName) -> Source:
    """A split's images with the labels to be told. A real image's one label says every factor; a counterfactual's says
    its shape, and the generator knows which texture and background it asked for.
    """
    batch = read_split(folder, split)
    asked_for = split == "generated" and factor != "shape"
    return Source(batch.pixels, getattr(batch.factors, factor) if asked_for else batch.labels)


if __name__ == "__main__":
    run(main)
