"""Images that are still encoded: where their bytes lie, and what is known of them. What large sets are trained and evaluated from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from cgn.errors import InputError


class Encoded(NamedTuple):
    """A picture file, or a part of a larger file that is one."""

    path: Path
    offset: int = 0  # bytes
    size: int | None = None  # bytes; None: to the end
    sha256: str | None = None  # of the bytes, where it was listed; hexadecimal

    def read(self) -> bytes:
        """The bytes. Raises: InputError where the file is missing, or not the one that was listed."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(-1 if self.size is None else self.size)
        except FileNotFoundError as error:
            if self.sha256 is None:
                raise InputError(f"{self.path} is missing; run `dvc repro` to find out what changed") from error
            raise InputError(
                f"{self.path} is missing, but was there when images were listed; put it back, or run `dvc repro --force fetch_images`"
            ) from error
        if self.sha256 is not None and hashlib.sha256(content).hexdigest() != self.sha256:
            raise InputError(
                f"{self.path} is not the file that was listed: its SHA-256 differs; put that back, or run `dvc repro --force fetch_images`"
            )
        return content


class Samples(NamedTuple):
    """Encoded images of which the classes of shape, texture and background are known, or some of them."""

    images: Sequence[Encoded]
    keys: Sequence[str]  # names for messages and tables, each once
    classes: Int[Tensor, "images 3"]  # ImageNet's numbers of shape, texture and background; -1 where unknown
