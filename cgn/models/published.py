"""Weights that others published, read from a file that the user names; nothing in such a file is executed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cgn.errors import InputError
from cgn.files import sha256

_SHOWN = 5  # of each kind of difference


class Published(NamedTuple):
    """Whose weights a file holds, for messages."""

    name: str  # "VGG16"
    url: str  # where to get the file


def read_published(path: Path, what: Published, *, sha256_digits: str) -> dict[str, Tensor]:
    """The tensors of a .pth or .bin state dict or of a .safetensors file, by name.

    `sha256_digits` are the first digits of the file's SHA-256; torchvision puts eight into its files' names.
    Raises: InputError where the file is missing, another one, unreadable, or holds anything but tensors.
    """
    if not path.is_file():
        raise InputError(f"{what.name} weights: found no file at {path}, expected one; download {what.url} to there")
    digest = sha256(path)
    if not digest.startswith(sha256_digits):
        raise InputError(
            f"{what.name} weights: {path} has SHA-256 {digest[:16]}..., expected {sha256_digits}...; "
            f"download {what.url} again, or give the digits of the file that you mean"
        )
    try:
        tensors = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # what damaged pickles make torch raise has no common class
        raise InputError(
            f"{what.name} weights: {path} cannot be read ({type(error).__name__}), expected a .safetensors file or a .pth "
            f"state dict of tensors alone; download {what.url} again"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError(
            f"{what.name} weights: {path} holds a {_kind(tensors)}, expected a state dict of tensors alone; "
            f"download {what.url} again"
        )
    return dict(tensors)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: Published) -> None:
    """Put published weights into a network, every one in its place, as the network's own types.

    Raises: InputError that lists the first differences, where the weights are another network's or not finite.
    """
    expected = network.state_dict()
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    other = [
        f"{name} is {tuple(tensors[name].shape)} and not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if missing or unexpected or other:
        kinds = {"missing": missing, "unexpected": unexpected, "other shapes": other}
        found = "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds.items() if names)
        raise InputError(f"{what.name} weights: {path} is another network's ({found}); give the file of {what.url}")
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise InputError(f"{what.name} weights: in {path} {_first(bad)} is not finite; download {what.url} again")
    network.load_state_dict(dict(tensors))


def _first(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _kind(found: Any) -> str:
    """What a file holds, in words."""
    if not isinstance(found, dict):
        return type(found).__name__
    return "dict with a " + next(type(value).__name__ for value in found.values() if not isinstance(value, Tensor))
