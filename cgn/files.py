"""Writing so that a reader never sees half a file: beside the target, then renamed."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cgn.errors import InputError


@contextlib.contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed onto it when the block ends well, removed when it raises."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.partial")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to fill; renamed onto it when the block ends well, removed when it raises.

    Raises: InputError where `target` is a file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        raise InputError(f"{target}: found a file, expected a folder or nothing; move it away")
    beside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        old = target.with_name(f".{target.name}.old")
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.replace(old)
        beside.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_json(target: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON in the mapping's own order, with a final newline; NaN and infinity are refused."""
    with replacing_file(target) as beside:
        beside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
