"""Classifiers small enough to train in a test, and images that they can tell apart."""

from pathlib import Path

import torch
from torch import Tensor

from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.config import ClassifierBudget, MethodConfig, load_params
from cgn.rng import stream

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
ERM = PARAMS.methods["original"]


def bars(num_images: int, seed: int = 0) -> Source:
    """Noise with one bright row that says the class."""
    labels = torch.arange(num_images) % 10
    pixels = torch.randint(0, 60, (num_images, 3, 32, 32), dtype=torch.uint8, generator=stream(seed, "bars"))
    pixels[torch.arange(num_images), :, 3 * labels + 1] = 255
    return Source(pixels, labels)


def budget(num_images: int = 160, batch_size: int = 16) -> ClassifierBudget:
    return ClassifierBudget(num_images=num_images, batch_size=batch_size, lr=0.003)


def training(
    seed: int = 0,
    config: MethodConfig = ERM,
    precision: str = "bfloat16",
    plain_area_lr_share: float = 1.0,
    **of: float,
) -> ClassifierTraining:
    sources = {split: bars(60, number) for number, split in enumerate(config.mix)}
    return ClassifierTraining(
        config, sources, budget(**of), precision=precision, seed=seed, plain_area_lr_share=plain_area_lr_share
    )


def trained(of: ClassifierTraining) -> dict[str, Tensor]:
    list(of.records())
    return of.weights()


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
