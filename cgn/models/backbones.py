"""The networks that classifiers of natural images start from: fetched once, with the preprocessing that they were trained for."""

from pathlib import Path
from typing import NamedTuple

from torch import nn

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.checkpoints import load_checkpoint, load_into
from cgn.config import ClassifierWeights
from cgn.models.chains import chain_of
from cgn.models.fetched import obtain, read_into, save_obtained
from cgn.models.imagenet_classifiers import published_as
from cgn.models.published import Published
from cgn.rng import stream
from cgn.training import seeded

# isort: split
from torchvision import models

FILE = "backbone.safetensors"


class Preprocessing(NamedTuple):
    """How photographs become what a network was trained on: the shorter side resized, the middle cut out, channels normalised."""

    resize_px: int
    crop_px: int
    interpolation: str  # bilinear or bicubic
    mean: tuple[float, ...]  # of red, green and blue in [0, 1]
    std: tuple[float, ...]


class Backbone(NamedTuple):
    """A classifier of torchvision's, whose it is, and where its weights come from."""

    network: nn.Module
    name: str
    weights: str  # torchvision's name of the published ones
    source: str  # in words
    sha256: str  # of the file, empty where there is none
    preprocessing: Preprocessing


def fetch_backbone(config: ClassifierWeights, folder: Path) -> str:
    """Write `folder`/backbone.safetensors; returns where the weights come from, in words.

    Raises: InputError where torchvision has no such classifier, where it cannot be given heads, and where the file is missing, another
    one, unreadable or another network's; OSError where a download fails.
    """
    weights = published_as(config.name, config.location, what="weights.backbone")
    chain_of(new_backbone(config.name), config.name)

    def published(path: Path, digits: str) -> nn.Module:
        network = new_backbone(config.name)
        read_into(network, path, digits, Published(config.name, weights.url))
        return network

    obtained = obtain("backbone", config, untrained=lambda: new_backbone(config.name), published=published)
    save_obtained(folder, "backbone", obtained, {"name": config.name, "weights": weights.name})
    return obtained.source


def load_backbone(folder: Path) -> Backbone:
    """What `fetch_backbone` wrote. Raises: InputError where the file is missing, damaged, or holds another network."""
    path = folder / FILE
    checkpoint = load_checkpoint(path, kind="weights")
    header = checkpoint.config
    network = new_backbone(header["name"])
    load_into(network, checkpoint.tensors, path)
    return Backbone(
        network,
        header["name"],
        header["weights"],
        header["source"],
        header["sha256"],
        preprocessing(header["name"], header["weights"]),
    )


def new_backbone(name: str) -> nn.Module:
    """An untrained network of torchvision's, the same every time."""

    def build() -> nn.Module:
        network: nn.Module = models.get_model(name, weights=None)
        return network

    return seeded(stream(0, "random_backbone").initial_seed(), build)


def preprocessing(name: str, weights: str) -> Preprocessing:
    """What published weights of torchvision's were trained for."""
    preset = models.get_model_weights(name)[weights].transforms()
    mode = preset.interpolation.value
    return Preprocessing(preset.resize_size[0], preset.crop_size[0], mode, tuple(preset.mean), tuple(preset.std))
