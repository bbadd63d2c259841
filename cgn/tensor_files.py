"""Safetensors files that notice a flipped bit: the format itself has no checksum, so a digest goes into the metadata."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file. Raises: SafetensorError or OSError where it is none."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return tensors, file.metadata() or {}


def tensors_digest(tensors: Mapping[str, Tensor], *, beside: str = "") -> str:
    """SHA-256 over a text and the names, types, shapes and contents of tensors, as 64 hex digits."""
    digest = hashlib.sha256(beside.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
