"""Train one classifier of natural images, with one head or three, from the backbone that fetch_backbone wrote.

Several processes are started here, as train_imagenet starts its own, so that DVC has one command; torchrun may start them as well.
"""

import argparse
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.classifiers.imagenet_fit import FitSetting, ImagenetTraining
from cgn.classifiers.last_layer import LastLayerTraining
from cgn.config import (
    EnsembleMethod,
    ImagenetErm,
    ImagenetMethod,
    LastLayerMethod,
    Params,
    PublishedMethod,
    load_params,
)
from cgn.files import replacing_folder, sha256, write_json
from cgn.models.backbones import FILE, load_backbone
from cgn.models.ensemble import CHECKPOINT_KIND, ONE_HEAD, THREE_HEADS, HeadedClassifier, form_of, headed
from cgn.ranks import Ranks
from cgn.training import Record
from stages.classifier_sources import Folders, SourceSetting, counterfactuals, digest_of, real_sources
from stages.common import Argv, one_of, parser, run
from stages.curves import curves
from stages.devices import device
from stages.ranks import check_processes, run_ranks, train_along
from stages.training import Scratch, drive, scalars_csv, set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--method", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--images", required=True, type=Path)
    options.add_argument("--in9", required=True, type=Path)
    options.add_argument("--backbone", required=True, type=Path)
    options.add_argument("--generated", type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--record", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the checkpoint and the training record: record.json, and the losses in scalars.csv where there are any."""
    args = parse(argv)
    params = load_params(args.params)
    method = one_of(params.imagenet_methods, args.method, "--method")
    budget = one_of(params.imagenet_scales, args.scale, "--scale").classifier
    num = budget.num_processes if isinstance(method, ImagenetErm | EnsembleMethod) else 1  # the others hardly compute
    check_processes(num, f"imagenet_scales.{args.scale}.classifier.num_processes")
    run_ranks(num, functools.partial(train, args))


def train(args: argparse.Namespace, ranks: Ranks) -> None:
    """One process's part of the stage; the first of them writes."""
    params = load_params(args.params)
    method = params.imagenet_methods[args.method]
    set_compute(params.compute)
    network = new_classifier(args, params, method)
    if isinstance(method, PublishedMethod):
        write(args, network, network.state_dict(), [], {"images_seen": 0}, trained_on=sha256(args.backbone / FILE))
        return
    folders = Folders(args.images, args.in9, args.generated)
    sources = SourceSetting(folders, params.imagenet_scales[args.scale], network.form, args.seed)
    trained_on = f"{sha256(args.backbone / FILE)}+{digest_of(method, sources)}"
    inputs = {"stage": "train_imagenet_classifier", "trained_on": trained_on, **network.config}
    scratch = Scratch(Path(params.runtime.scratch), inputs)
    job = Job(args, params, network, sources, scratch, trained_on)
    if isinstance(method, LastLayerMethod):
        retrain_last_layer(job, method)
    else:
        train_all(job, method, ranks)
    if ranks.rank == 0:
        scratch.clear()


class Job(NamedTuple):
    """What a training needs beside its method."""

    args: argparse.Namespace
    params: Params
    network: HeadedClassifier
    sources: SourceSetting
    scratch: Scratch
    trained_on: str

    def batch_size(self, recipe: str) -> int:
        """Images of a step: the scale's, or else the recipe's."""
        return self.sources.scale.classifier.batch_size or self.params.imagenet_training[recipe].batch_size


def new_classifier(args: argparse.Namespace, params: Params, method: ImagenetMethod) -> HeadedClassifier:
    """The classifier that a training begins with; its configuration is what the checkpoint's header will say."""
    budget = params.imagenet_scales[args.scale].classifier
    backbone = load_backbone(args.backbone)
    config: dict[str, Any] = {"method": {"name": args.method, **method.model_dump()}}
    heads: tuple[str, ...] = ONE_HEAD
    classes, cut, linear, new_heads = "imagenet", 1, False, False
    if not isinstance(method, PublishedMethod):
        classes = method.classes
        linear = isinstance(method, LastLayerMethod) or classes != "imagenet"
        config |= {
            "recipe": params.imagenet_training[method.recipe].model_dump(),
            "budget": budget.model_dump(exclude={"num_workers"}),  # which changes no byte
            "compute": params.compute.model_dump(),
        }
    if isinstance(method, EnsembleMethod):
        heads, cut, new_heads = THREE_HEADS, method.cut, method.new_heads
    form = form_of(backbone, heads=heads, classes=classes, cut=cut, linear=linear, image_px=budget.image_px)
    return headed(backbone, form, seed=args.seed, config=config, new_heads=new_heads)


def retrain_last_layer(job: Job, method: LastLayerMethod) -> None:
    """Fit the last layer on the features of the mix."""
    training = LastLayerTraining(
        job.network.to(device()),
        real_sources(method.mix, job.sources, augment=False),
        {name: weight for name, weight in method.mix.items()},  # noqa: C416 - of other types
        l2=method.l2,
        batch_size=job.batch_size(method.recipe),
        precision=job.params.compute.precision,
        field=f"imagenet_methods.{job.args.method}",
    )
    log.info("train_imagenet_classifier: %s, features of %d images", job.args.method, len(training.places))
    records = drive(training, job.scratch)
    fit = training.fitted()
    record = {"images_seen": len(training.places), "final_loss": fit.loss, "largest_gradient": fit.gradient}
    write(job.args, job.network, training.weights(), records, record, trained_on=job.trained_on)


def train_all(job: Job, method: ImagenetErm | EnsembleMethod, ranks: Ranks) -> None:
    """Train all weights, on counterfactuals too where the method has some."""
    args, recipe = job.args, job.params.imagenet_training[method.recipe]
    budget = job.sources.scale.classifier
    setting = FitSetting(
        recipe,
        job.params.compute.precision,
        args.seed,
        num_epochs=budget.num_epochs or recipe.num_epochs,
        batch_size=job.batch_size(method.recipe),
        num_workers=budget.num_workers,
        ranks=ranks,
        field=f"imagenet_training.{method.recipe}",
    )
    made, cf_ratio = None, 1.0
    if isinstance(method, EnsembleMethod):
        made, cf_ratio = counterfactuals(method.counterfactuals, job.sources), method.cf_ratio
    training = ImagenetTraining(
        job.network.to(device()),
        real_sources(method.mix, job.sources, augment=True),
        {name: weight for name, weight in method.mix.items()},  # noqa: C416 - of other types
        setting,
        counterfactuals=made,
        cf_ratio=cf_ratio,
    )
    if ranks.rank:
        train_along(training, job.scratch)
        return
    shown = job.scratch.folder.parent / "tensorboard" / "-".join([*args.out.parts[-3:], job.scratch.folder.name[:8]])
    log.info(
        "train_imagenet_classifier: %s, %d steps on %s, processes: %d; images: %s; curves: tensorboard --logdir %s",
        args.method,
        training.num_steps,
        device(),
        ranks.num,
        training.shares(),
        shown,
    )
    with curves(shown) as draw:
        records = drive(training, job.scratch, observe=draw)
    record = {
        "images_seen": training.images_seen,
        "images_seen_by_source": training.shares(),
        "final_loss": records[-1]["real"],
    }
    write(args, job.network, training.weights(), records, record, trained_on=job.trained_on)


def write(
    args: argparse.Namespace,
    network: HeadedClassifier,
    weights: Mapping[str, Tensor],
    records: list[Record],
    record: Mapping[str, Any],
    *,
    trained_on: str,
) -> None:
    """Put the record and the checkpoint in their places."""
    with replacing_folder(args.record) as folder, replacing_folder(args.out) as out:
        if records:
            (folder / "scalars.csv").write_text(scalars_csv(records))
        write_json(folder / "record.json", record)
        save_checkpoint(out / FILE_NAME, weights, kind=CHECKPOINT_KIND, config=network.config, trained_on=trained_on)


if __name__ == "__main__":
    run(main)
