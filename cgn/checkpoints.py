"""Checkpoints: weights as safetensors, with their configuration and what they were trained on in the header."""

import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from cgn.errors import InputError
from cgn.files import replacing_file
from cgn.tensor_files import read_tensors, tensors_digest

FORMAT = 2  # 2: the header holds a digest of all contents
FILE_NAME = "model.safetensors"
# What a missing, torn, damaged or foreign resume state makes zipfile and torch raise.
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)


class Checkpoint(NamedTuple):
    """What a checkpoint file holds."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    trained_on: str  # SHA-256 of the manifest that the weights were trained on


def save_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], *, kind: str, config: Mapping[str, Any], trained_on: str
) -> None:
    """Write weights so that equal arguments give equal bytes, beside the target and then renamed."""
    contiguous = {name: tensors[name].detach().contiguous() for name in sorted(tensors)}
    header = {
        "format": FORMAT,
        "kind": kind,
        "config": dict(config),
        "trained_on": trained_on,
        "sha256": _digest(contiguous, config, trained_on),
    }
    with replacing_file(path) as beside:
        save_file(contiguous, beside, metadata={"checkpoint": json.dumps(header, sort_keys=True, allow_nan=False)})


def load_checkpoint(path: Path, *, kind: str) -> Checkpoint:
    """What `save_checkpoint` wrote.

    Raises: InputError where the file is missing, torn, damaged, a pickle, or a checkpoint of another kind.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; run `dvc repro` to train it or `dvc pull` to fetch it")
    try:
        tensors, metadata = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); delete it and run `dvc repro`") from error
    try:
        header = json.loads(metadata.get("checkpoint", "null"))
        found, expected = (header["format"], header["kind"]), header.get("sha256")
        config, trained_on = dict(header["config"]), str(header["trained_on"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} has no checkpoint header; expected a {kind} checkpoint of this project") from error
    if found != (FORMAT, kind):
        raise InputError(
            f"{path}: found a {found[1]} checkpoint of format {found[0]}, expected {kind} of format {FORMAT}; "
            "delete it and run `dvc repro`"
        )
    if (digest := _digest(tensors, config, trained_on)) != expected:
        raise InputError(
            f"{path} is damaged: found contents of SHA-256 {digest[:16]}..., expected {str(expected)[:16]}...; "
            "delete it and run `dvc repro` or `dvc pull`"
        )
    return Checkpoint(tensors, config, trained_on)


def check_origin(checkpoint: Checkpoint, path: Path, *, dataset: str, seed: int) -> None:
    """Raises: InputError where a checkpoint was trained on another data set or with another seed than these."""
    for name, expected in (("dataset", dataset), ("seed", seed)):
        if (found := checkpoint.config.get(name)) != expected:
            raise InputError(
                f"{path}: found {name} {found!r}, expected {expected!r}; give the checkpoint of this {name}"
            )


def _digest(tensors: Mapping[str, Tensor], config: Mapping[str, Any], trained_on: str) -> str:
    """SHA-256 over all that a checkpoint holds."""
    return tensors_digest(tensors, beside=json.dumps([dict(config), trained_on], sort_keys=True, allow_nan=False))


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a module, every one in its place.

    Raises: InputError that names the first difference: a checkpoint of another architecture.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        name = next(name for name in sorted(expected | found) if expected.get(name) != found.get(name))
        raise InputError(
            f"{path} is a checkpoint of another architecture: {name} is {found.get(name, 'missing')}, "
            f"expected {expected.get(name, 'no such weight')}; delete it and run `dvc repro`"
        )
    module.load_state_dict(dict(tensors))


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a resume state (tensors, numbers, strings in dicts and lists), beside the target and then renamed."""
    with replacing_file(path) as beside:
        torch.save(dict(state), beside)


def load_state(path: Path) -> dict[str, Any] | None:
    """A resume state, or None where there is none that can be read: training then starts from the beginning.

    Pickled classes other than torch's own are not read: nothing in the file is executed.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself does not hold the contents against their checksums
            if archive.testzip() is not None:
                return None
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE:
        return None
    return state if isinstance(state, dict) else None
