"""What the stages of the ImageNet road compute on."""

import contextlib
import os
from collections.abc import Iterator

import torch

from cgn.errors import InputError

# Without it CUDA refuses matrix products that are the same every time, which `set_compute` asks for.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def enough_memory(field: str, micro_batch: int) -> Iterator[None]:
    """What computes `micro_batch` images at a time, as `field` of params.yaml says.

    Raises: InputError that names a smaller number where a GPU's memory does not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:  # a GPU's; what the system does without memory for CPUs is its own
        less = f"less; try {micro_batch // 2}" if micro_batch > 1 else "a larger device or a smaller size_px"
        raise InputError(
            f"{field}: found {micro_batch}, for which the device has too little memory, expected {less}"
        ) from error
