"""Generators: a module and its training loop each, chosen by `recipe` from `GENERATORS`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import AuthorsCgnConfig, FastCgnConfig
from cgn.contracts import Labels, Pixels
from cgn.generators.authors_cgn import AuthorsCgn, AuthorsCgnTraining
from cgn.generators.base import Cgn, GeneratorTraining, Run
from cgn.generators.mnist_cgn import FastCgnTraining, MnistCgn
from cgn.models.vgg import load_vgg_features


class Recipe(NamedTuple):
    """How a generator is built for its weights, and how it is trained; both from the recipe's own configuration."""

    network: Callable[[Any], Cgn]
    training: Callable[[Any, Pixels, Labels, Run], GeneratorTraining]


def _fast(config: FastCgnConfig, pixels: Pixels, labels: Labels, run: Run) -> FastCgnTraining:
    return FastCgnTraining(
        config,
        pixels,
        labels,
        num_images=run.num_images,
        precision=run.precision,
        seed=run.seed,
        attempt=run.attempt,
    )


def _authors_code(config: AuthorsCgnConfig, pixels: Pixels, labels: Labels, run: Run) -> AuthorsCgnTraining:
    if config.vgg_weights is None:
        raise ValueError(
            "vgg_weights: found nothing, expected the path of VGG16 weights, because recipe is authors_code"
        )
    return AuthorsCgnTraining(
        config,
        pixels,
        labels,
        dataset=run.dataset,
        num_images=run.num_images,
        seed=run.seed,
        attempt=run.attempt,
        vgg=load_vgg_features(Path(config.vgg_weights), sha256_digits=config.vgg_sha256),
    )


GENERATORS: dict[str, Recipe] = {
    "fast": Recipe(MnistCgn, _fast),
    "authors_code": Recipe(AuthorsCgn, _authors_code),
}

__all__ = ["GENERATORS", "AuthorsCgn", "AuthorsCgnTraining", "Cgn", "FastCgnTraining", "GeneratorTraining", "MnistCgn"]
