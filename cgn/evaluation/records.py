"""What a generator's training left behind, beside its checkpoint."""

import json
from pathlib import Path

from cgn.errors import InputError


def read_record(path: Path) -> dict[str, int]:
    """How many attempts a generator took, and how many images its last one saw.

    Raises: InputError where the file is missing or says something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        record = {name: content[name] for name in ("attempts", "images_seen")}
        if not all(type(number) is int and number > 0 for number in record.values()):
            raise ValueError(f"found {record}, expected two counts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no record of a generator ({type(error).__name__}: {error}); delete its folder and "
            "run `dvc repro`"
        ) from error
    return record
