"""Named random streams: every draw in the project has an owner and an address."""

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator that depends on the seed and the names alone.

    Two different addresses give independent streams, so adding a draw in one place never shifts another.
    """
    address = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    digest = hashlib.sha256(address.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") & 0x7FFF_FFFF_FFFF_FFFF)
