"""What the stages of the ImageNet road compute on."""

import os

import torch

# Without it CUDA refuses matrix products that are the same every time, which `set_compute` asks for.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
