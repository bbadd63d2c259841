"""What the pages on ImageNet have beside them: the long table of results, and the commands that make them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

MADE_BY = "made by"


@runtime_checkable
class _Made(Protocol):
    @property
    def target(self) -> str:
        """The stage that writes its metrics."""
        ...


def command(runs: Sequence[_Made]) -> str:
    """What makes the metrics of these runs."""
    return f"dvc repro {' '.join(run.target for run in runs)}"


def write_results(folder: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write results.json and results.csv, a row per number."""
    (folder / "results.json").write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
