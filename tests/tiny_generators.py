"""Narrow generators of every recipe on 64 random images, trained in milliseconds."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from isolation import ROOT
from torch import Tensor

from cgn.config import Precision, load_params
from cgn.generators import AuthorsCgnTraining, BetaVaeTraining, FastCgnTraining, GanTraining, GeneratorTraining, Run
from cgn.models.vgg import random_vgg_features
from cgn.rng import stream

PARAMS = load_params(ROOT / "params.yaml")
NUM_IMAGES = 64
PIXELS = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), generator=stream(0, "pixels"), dtype=torch.uint8)
LABELS = torch.arange(NUM_IMAGES) % 10
VGG = random_vgg_features(0)
_Training = TypeVar("_Training", bound=GeneratorTraining)


def fast(num_images: int = NUM_IMAGES, **changed: Any) -> FastCgnTraining:
    return _ours(
        "cgn",
        FastCgnTraining,
        num_images,
        **{"shape_width": 4, "texture_width": 4, "inference_after_share": 0.0, "redress_after_share": 1.0, **changed},
    )


def gan(num_images: int = NUM_IMAGES, **changed: Any) -> GanTraining:
    return _ours("gan", GanTraining, num_images, **{"width": 4, **changed})


def beta_vae(num_images: int = NUM_IMAGES, **changed: Any) -> BetaVaeTraining:
    given = {"width": 4, "batch_size": 16, **changed}
    run = Run(
        "double_colored",
        num_images,
        *(given.pop(k, d) for k, d in (("precision", "bfloat16"), ("seed", 0), ("attempt", 0))),
    )
    pixels = given.pop("pixels", PIXELS)
    return BetaVaeTraining(PARAMS.generator["vae"].model_copy(update=given), pixels, LABELS, run)


def _ours(
    name: str,
    training: Callable[[Any, Tensor, Tensor, Run], _Training],
    num_images: int,
    *,
    seed: int = 0,
    attempt: int = 0,
    dataset: str = "double_colored",
    precision: Precision = "bfloat16",
    pixels: Tensor = PIXELS,
    **changed: Any,
) -> _Training:
    config = PARAMS.generator[name].model_copy(update={"discriminator_width": 4, "batch_size": 16, **changed})
    return training(config, pixels, LABELS, Run(dataset, num_images, precision, seed, attempt))


def authors_code(
    num_images: int = NUM_IMAGES,
    *,
    seed: int = 0,
    attempt: int = 0,
    dataset: str = "double_colored",
    images: int = NUM_IMAGES,
    style: float = 0.05,
    epochs: int = 15,
    pixels: Tensor = PIXELS,
    **changed: float,
) -> AuthorsCgnTraining:
    config = PARAMS.generator["cgn_authors"]
    narrow = {"style_weights": [style, 0.0, 0.0, 0.0], "discriminator_width": 8, **changed}
    settings = getattr(config.datasets, dataset).model_copy(update=narrow)
    datasets = config.datasets.model_copy(update={dataset: settings})
    config = config.model_copy(update={"width": 4, "datasets": datasets, "epochs": epochs})
    run = Run(dataset, num_images, "bfloat16", seed, attempt)
    return AuthorsCgnTraining(config, pixels[:images], LABELS[:images], run, vgg=VGG)


RECIPES = {"fast": fast, "authors_code": authors_code, "gan": gan, "beta_vae": beta_vae}


def trained(training: GeneratorTraining) -> dict[str, Tensor]:
    for _ in training.records():
        pass
    return training.weights()
