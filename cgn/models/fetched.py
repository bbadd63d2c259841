"""Networks that others trained: from a file, a URL, or untrained, into a checkpoint with their source and hash."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import torch
from torch import nn

from cgn.checkpoints import save_checkpoint
from cgn.config import WeightsConfig
from cgn.errors import InputError
from cgn.files import sha256
from cgn.models.published import Published, fill, read_published


class Obtained(NamedTuple):
    """A network with its weights, and where they come from."""

    network: nn.Module
    source: str  # in words
    sha256: str  # of the file, empty where there is none


def obtain(
    kind: str,
    config: WeightsConfig,
    *,
    untrained: Callable[[], nn.Module],
    published: Callable[[Path, str], nn.Module],
) -> Obtained:
    """A network as its configuration says; `published` reads a file whose SHA-256 begins with the digits that it is given.

    Raises: InputError where the file is missing, another one, unreadable or another network's; OSError where a download fails.
    """
    if config.source == "random":
        return Obtained(untrained(), "random", "")
    if config.location is None:  # excluded by the configuration
        raise InputError(f"{kind}: found no location, expected one, because source is {config.source!r}")
    if config.source == "path":
        path = Path(config.location)
        return Obtained(published(path, config.sha256 or ""), "a file", sha256(path))
    with tempfile.TemporaryDirectory() as beside:
        path = Path(beside) / Path(config.location).name
        _download(config.location, path)
        return Obtained(published(path, config.sha256 or ""), config.location, sha256(path))


def read_into(network: nn.Module, path: Path, digits: str, what: Published) -> None:
    """Put the weights of a published file into a network; the counts of batches, which older files lack, decide nothing here.

    Raises: InputError where the file is missing, another one, unreadable or another network's.
    """
    tensors = read_published(path, what, sha256_digits=digits)
    counts = {name: part for name, part in network.state_dict().items() if name.endswith("num_batches_tracked")}
    fill(network, {**counts, **tensors}, path, what)


def save_obtained(folder: Path, kind: str, obtained: Obtained, which: Mapping[str, Any]) -> None:
    """Write `folder`/<kind>.safetensors, with the source and what says which network it is in the header."""
    provenance = {"network": kind, "source": obtained.source, "sha256": obtained.sha256, **which}
    tensors = obtained.network.state_dict()
    save_checkpoint(folder / f"{kind}.safetensors", tensors, kind="weights", config=provenance, trained_on="")


def _download(url: str, target: Path) -> None:
    try:
        torch.hub.download_url_to_file(url, str(target), progress=False)
    except URLError as error:
        raise OSError(
            f"{url} cannot be downloaded ({error.reason}); try again, or give the file by its path"
        ) from error
