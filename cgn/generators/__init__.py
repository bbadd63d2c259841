"""Generators: a module and its training loop each, chosen by `recipe` from `GENERATORS`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import AuthorsCgnConfig
from cgn.contracts import Labels, Pixels
from cgn.errors import InputError
from cgn.generators.authors_cgn import AuthorsCgn, AuthorsCgnTraining
from cgn.generators.base import Generator, GeneratorTraining, Run
from cgn.generators.beta_vae import BetaVae, BetaVaeTraining
from cgn.generators.cut_paste import CutPaste, CutPasteTraining
from cgn.generators.gan import Gan, GanTraining
from cgn.generators.mnist_cgn import FastCgnTraining, MnistCgn
from cgn.models.vgg import load_vgg_features


class Recipe(NamedTuple):
    """How a generator is built for its weights, and how it is trained; both from the recipe's own configuration."""

    network: Callable[[Any], Generator]
    training: Callable[[Any, Pixels, Labels, Run], GeneratorTraining]


def _authors_code(config: AuthorsCgnConfig, pixels: Pixels, labels: Labels, run: Run) -> AuthorsCgnTraining:
    if config.vgg_weights is None:
        raise InputError(
            "vgg_weights: found nothing, expected the path of VGG16 weights, because recipe is authors_code"
        )
    vgg = load_vgg_features(Path(config.vgg_weights), sha256_digits=config.vgg_sha256)
    return AuthorsCgnTraining(config, pixels, labels, run, vgg=vgg)


GENERATORS: dict[str, Recipe] = {
    "fast": Recipe(MnistCgn, FastCgnTraining),
    "authors_code": Recipe(AuthorsCgn, _authors_code),
    "cut_paste": Recipe(CutPaste, CutPasteTraining),
    "gan": Recipe(Gan, GanTraining),
    "beta_vae": Recipe(BetaVae, BetaVaeTraining),
}

__all__ = [
    "GENERATORS",
    "AuthorsCgn",
    "AuthorsCgnTraining",
    "BetaVae",
    "BetaVaeTraining",
    "CutPaste",
    "CutPasteTraining",
    "FastCgnTraining",
    "Gan",
    "GanTraining",
    "Generator",
    "GeneratorTraining",
    "MnistCgn",
    "Run",
]
