"""The networks that judge images of the ImageNet CGN: fetched like those that it starts from, or by choice not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from cgn.checkpoints import load_checkpoint, load_into
from cgn.config import ClassifierWeights, WeightsConfig
from cgn.models.fetched import Obtained, obtain, read_into, save_obtained
from cgn.models.imagenet_classifiers import ImagenetClassifier, published_as
from cgn.models.inception import Inception, random_inception
from cgn.models.published import Published
from cgn.rng import stream
from cgn.training import seeded

_NONE = "none"
_INCEPTION = Published(
    "Inception",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)


class Judge(NamedTuple):
    """A network for inference, and what metrics say of it."""

    network: Any
    name: str
    source: str  # of its weights, in words
    sha256: str | None  # of their file, where there is one


def fetch_inception(config: WeightsConfig, folder: Path) -> str:
    """Write `folder`/inception.safetensors, without weights where none are wanted; returns where they come from, in words.

    Raises: InputError where the file is missing, another one, unreadable or another network's; OSError where a download fails.
    """

    def published(path: Path, digits: str) -> nn.Module:
        network = Inception()
        read_into(network.layers, path, digits, _INCEPTION)
        return network

    return _fetch("inception", config, folder, untrained=lambda: random_inception(0), published=published, which={})


def fetch_classifier(config: ClassifierWeights, folder: Path) -> str:
    """The same of `folder`/classifier.safetensors.

    Raises: InputError and OSError likewise; InputError where torchvision has no such classifier.
    """
    weights = published_as(config.name, config.location)

    def untrained() -> nn.Module:
        return ImagenetClassifier(config.name, weights.name)

    def published(path: Path, digits: str) -> nn.Module:
        network = ImagenetClassifier(config.name, weights.name)
        read_into(network.network, path, digits, Published(config.name, weights.url))
        return network

    return _fetch(
        "classifier",
        config,
        folder,
        untrained=lambda: seeded(stream(0, "random_classifier").initial_seed(), untrained),
        published=published,
        which={"name": config.name, "weights": weights.name},
    )


def load_inception(folder: Path) -> Judge | None:
    """The `Inception` that `fetch_inception` wrote; None where none was wanted.

    Raises: InputError where the file is missing, damaged, or holds another network.
    """
    return _load("inception", folder, lambda _: Inception())


def load_classifier(folder: Path) -> Judge | None:
    """The `ImagenetClassifier` that `fetch_classifier` wrote; None where none was wanted.

    Raises: InputError likewise.
    """
    return _load("classifier", folder, lambda which: ImagenetClassifier(which["name"], which["weights"]))


def _fetch(
    kind: str,
    config: WeightsConfig,
    folder: Path,
    *,
    untrained: Callable[[], nn.Module],
    published: Callable[[Path, str], nn.Module],
    which: Mapping[str, str],
) -> str:
    if config.source == _NONE:
        obtained = Obtained(nn.Module(), _NONE, "")
    else:
        obtained = obtain(kind, config, untrained=untrained, published=published)
    save_obtained(folder, kind, obtained, which)
    return obtained.source


def _load(kind: str, folder: Path, build: Callable[[Mapping[str, Any]], nn.Module]) -> Judge | None:
    path = folder / f"{kind}.safetensors"
    checkpoint = load_checkpoint(path, kind="weights")
    if checkpoint.config["source"] == _NONE:
        return None
    network = build(checkpoint.config)
    load_into(network, checkpoint.tensors, path)
    header = checkpoint.config
    return Judge(network, header.get("name", kind), header["source"], header["sha256"] or None)
