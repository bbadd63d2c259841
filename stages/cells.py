"""What the stages share that make a whole cell at once: counterfactuals, a classifier of them, and its accuracy."""

from pathlib import Path

import pyarrow.compute as pc

from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.classifiers.prediction import predict
from cgn.config import ErmConfig, GenerateConfig, GeneratorConfig, Precision, Scale, SplitName
from cgn.evaluation.quality import effectiveness
from cgn.generators import Generator
from cgn.generators.counterfactuals import num_shapes
from cgn.shards import read_manifest, read_split, splits_of
from stages.generators import counterfactuals_of, keeps_shapes
from stages.training import Scratch, drive

_TEST_SETS = ("test", "paper_test")


def counterfactual_images(
    generator: Generator,
    config: GeneratorConfig,
    *,
    real: Path,
    dataset: str,
    budget: GenerateConfig,
    precision: Precision,
    seed: int,
) -> tuple[Source, int]:
    """Counterfactuals with the labels of their shapes, what `generate` would write shard after shard; and how many
    different shapes they have: where those are of training images, no more than there are training images.
    """
    size = budget.images_per_shard
    sizes = [min(size, budget.num_images - first) for first in range(0, budget.num_images, size)]
    pixels, factors = counterfactuals_of(
        generator,
        config,
        real=real,
        dataset=dataset,
        parts=sizes,
        cf_ratio=budget.cf_ratio,
        precision=precision,
        seed=seed,
    )
    shapes = sum(num_shapes(num_images, budget.cf_ratio) for num_images in sizes)
    if keeps_shapes(config):
        shapes = min(shapes, pc.sum(pc.equal(read_manifest(real)["split"], "train")).as_py())
    return Source(pixels, factors.shape), shapes


def accuracy_after(
    generated: Source,
    *,
    real: Path,
    real_share: float,
    scale: Scale,
    precision: Precision,
    seed: int,
    plain_area_lr_share: float,
    scratch: Scratch,
) -> dict[str, float]:
    """Accuracy per test set of a classifier that saw counterfactuals and a share of biased training images."""
    sources: dict[SplitName, Source] = {"generated": generated}
    mix: dict[SplitName, float] = {"generated": 1 - real_share}
    if real_share:
        sources["train"] = Source(*read_split(real, "train")[:2])
        mix["train"] = real_share
    training = ClassifierTraining(
        ErmConfig(rule="erm", mix=mix),
        sources,
        scale.classifier,
        precision=precision,
        seed=seed,
        plain_area_lr_share=plain_area_lr_share,
    )
    drive(training, scratch)
    accuracy = {}
    for name in _TEST_SETS:
        if name in splits_of(real):
            test = read_split(real, name)
            predicted, _ = predict(training.network, test.pixels, precision=precision)
            accuracy[name] = effectiveness(predicted, test.labels)
    return accuracy
