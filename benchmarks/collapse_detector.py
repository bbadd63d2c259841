"""How often the collapse detector is right: its verdicts against what ablation cells turned out to be worth.

A generator has collapsed where a classifier of its counterfactuals alone stays more than 15 points under the better oracle, or
the masks of a class cover the nearest real digits by less than 0.3, up to inversion; the detector knows neither.
Make the cells first: `dvc repro` once `params.yaml` says `seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]` and, under
`ablate`, `generators: [cgn]` and `changes: [unchanged]`. Usage: python -m benchmarks.collapse_detector [--metrics FOLDER]
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from cgn.evaluation.claims import COLLAPSED

MIN_IOU = 0.3


def judge(cell: Mapping[str, Any], oracle: float) -> str:
    """`right`, `missed` or `false alarm`."""
    collapsed = oracle - cell["accuracy"]["test"] > COLLAPSED or cell["worst_mask_iou"] < MIN_IOU
    if collapsed == bool(cell["collapsed"]):
        return "right"
    return "missed" if collapsed else "false alarm"


def _better_oracle(folder: Path) -> float | None:
    """The higher mean test accuracy, over seeds, of the oracles of two budgets; None without any."""
    found: dict[str, list[float]] = {}
    for path in folder.glob("oracle*-*.json"):
        test = json.loads(path.read_text(encoding="utf-8"))["test"]
        found.setdefault(path.stem.rsplit("-", maxsplit=1)[0], []).append(test["accuracy"])
    return max(map(fmean, found.values()), default=None)


def main() -> None:
    """Print the verdicts' counts per data set, and every cell about which the detector is wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--metrics", type=Path, default=Path("data/metrics/demo"))
    args = options.parse_args()
    result: dict[str, Any] = {}
    for folder in sorted(args.metrics.glob("*/ablation")):
        if not (cells := sorted(folder.glob("*-unchanged-*.json"))):
            continue
        if (oracle := _better_oracle(folder.parent)) is None:
            options.error(
                f"found no oracle-*.json in {folder.parent}, expected the oracle's metrics; run `dvc repro score`"
            )
        verdicts = {path.stem: judge(json.loads(path.read_text(encoding="utf-8")), oracle) for path in cells}
        counts = {name: list(verdicts.values()).count(name) for name in ("right", "missed", "false alarm")}
        result[folder.parent.name] = {**counts, "wrong": {k: v for k, v in verdicts.items() if v != "right"}}
    if not result:
        options.error(f"found no */ablation in {args.metrics}, expected cells; run `dvc repro ablate` with some listed")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
