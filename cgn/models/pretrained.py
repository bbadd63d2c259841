"""The networks that the ImageNet CGN starts from and is judged by: fetched once, checked, and kept as checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from cgn.checkpoints import load_checkpoint, load_into
from cgn.config import ImagenetNetworks, WeightsConfig
from cgn.models.biggan import BigGan, biggan_config, load_biggan, random_biggan
from cgn.models.fetched import obtain, save_obtained
from cgn.models.u2net import FULL, SMALL, U2Net, U2NetSize, load_u2net
from cgn.models.vgg import VggFeatures, load_vgg_features, random_vgg_features
from cgn.models.vgg_bn import VggBnFeatures, load_vgg_bn_features, random_vgg_bn_features
from cgn.rng import stream
from cgn.training import seeded


def _saliency_size(networks: ImagenetNetworks) -> U2NetSize:
    return SMALL if networks.saliency == "u2netp" else FULL


def _biggan(networks: ImagenetNetworks) -> BigGan:
    return BigGan(biggan_config(networks.size_px, channel_width=networks.channel_width))


def _random_biggan(networks: ImagenetNetworks) -> BigGan:
    return random_biggan(biggan_config(networks.size_px, channel_width=networks.channel_width), 0)


def _random_saliency(networks: ImagenetNetworks) -> U2Net:
    return seeded(stream(0, "random_saliency").initial_seed(), lambda: U2Net(_saliency_size(networks)))


def _vgg(networks: ImagenetNetworks) -> VggFeatures:
    return VggBnFeatures() if networks.vgg == "vgg16_bn" else VggFeatures()


def _random_vgg(networks: ImagenetNetworks) -> VggFeatures:
    return random_vgg_bn_features(0) if networks.vgg == "vgg16_bn" else random_vgg_features(0)


def _published_vgg(path: Path, networks: ImagenetNetworks, digits: str) -> VggFeatures:
    load = load_vgg_bn_features if networks.vgg == "vgg16_bn" else load_vgg_features
    return load(path, sha256_digits=digits)


class _Kind(NamedTuple):
    """How a network is built, and how its published file is read: (file, which network, digits of its SHA-256)."""

    build: Callable[[ImagenetNetworks], nn.Module]
    untrained: Callable[[ImagenetNetworks], nn.Module]
    published: Callable[[Path, ImagenetNetworks, str], nn.Module]


_KINDS = {
    "biggan": _Kind(
        _biggan,
        _random_biggan,
        lambda path, networks, digits: load_biggan(path, networks.size_px, sha256_digits=digits),
    ),
    "saliency": _Kind(
        lambda networks: U2Net(_saliency_size(networks)),
        _random_saliency,
        lambda path, networks, digits: load_u2net(path, _saliency_size(networks), sha256_digits=digits),
    ),
    "vgg": _Kind(_vgg, _random_vgg, _published_vgg),
}
KINDS = tuple(_KINDS)


def fetch_network(kind: str, config: WeightsConfig, networks: ImagenetNetworks, folder: Path) -> str:
    """Write one network's weights to `folder`/<kind>.safetensors; returns where they come from, in words.

    Raises: InputError where the file is missing, another one, unreadable or another network's; OSError where a download fails.
    """
    of = _KINDS[kind]
    obtained = obtain(
        kind,
        config,
        untrained=lambda: of.untrained(networks),
        published=lambda path, digits: of.published(path, networks, digits),
    )
    save_obtained(folder, kind, obtained, {"networks": networks.model_dump()})
    return obtained.source


def new_network(kind: str, networks: ImagenetNetworks) -> Any:
    """A network of a kind, for weights to be put into."""
    return _KINDS[kind].build(networks)


def load_network(kind: str, folder: Path, networks: ImagenetNetworks) -> Any:
    """The network that `fetch_network` wrote: a BigGan, a U2Net as published, or VggFeatures, with batch normalisation or without.

    Raises: InputError where the file is missing, damaged, or holds another network.
    """
    path = folder / f"{kind}.safetensors"
    checkpoint = load_checkpoint(path, kind="weights")
    network = new_network(kind, networks)
    load_into(network, checkpoint.tensors, path)
    return network
