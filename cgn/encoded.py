"""Images that are still encoded: where their bytes lie, and what is known of them. What large sets are trained and evaluated from."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor


class Encoded(NamedTuple):
    """A picture file, or a part of a larger file that is one."""

    path: Path
    offset: int = 0  # bytes
    size: int | None = None  # bytes; None: to the end

    def read(self) -> bytes:
        """The bytes. Raises: OSError where the file is not there."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(-1 if self.size is None else self.size)


class Samples(NamedTuple):
    """Encoded images of which the classes of shape, texture and background are known, or some of them."""

    images: Sequence[Encoded]
    keys: Sequence[str]  # names for messages and tables, each once
    classes: Int[Tensor, "images 3"]  # ImageNet's numbers of shape, texture and background; -1 where unknown
