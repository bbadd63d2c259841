"""How often the collapse detector is right: its verdicts against what ablation cells turned out to be worth.

A generator has collapsed where a classifier of its counterfactuals alone stays more than 15 points under the oracle, or the
masks of a class cover the nearest real digits by less than 0.3, up to inversion; the detector knows neither.
Make the cells first: `dvc repro` once `params.yaml` says `seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]` and, under
`ablate`, `generators: [cgn]` and `changes: [unchanged]`. Usage: python -m benchmarks.collapse_detector [--metrics FOLDER]
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgn.evaluation.claims import COLLAPSED

MIN_IOU = 0.3


def judge(cell: Mapping[str, Any], oracle: float) -> str:
    """`right`, `missed` or `false alarm`."""
    collapsed = oracle - cell["accuracy"]["test"] > COLLAPSED or cell["worst_mask_iou"] < MIN_IOU
    if collapsed == bool(cell["collapsed"]):
        return "right"
    return "missed" if collapsed else "false alarm"


def main() -> None:
    """Print the verdicts' counts per data set, and every cell about which the detector is wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--metrics", type=Path, default=Path("data/metrics/demo"))
    args = options.parse_args()
    result: dict[str, Any] = {}
    for folder in sorted(args.metrics.glob("*/ablation")):
        verdicts = {}
        for path in sorted(folder.glob("*.json")):
            seed = path.stem.rsplit("-", maxsplit=1)[-1]
            oracle = json.loads((folder.parent / f"oracle-{seed}.json").read_text(encoding="utf-8"))
            cell = json.loads(path.read_text(encoding="utf-8"))
            verdicts[path.stem] = judge(cell, oracle["test"]["accuracy"])
        counts = {name: list(verdicts.values()).count(name) for name in ("right", "missed", "false alarm")}
        result[folder.parent.name] = {**counts, "wrong": {k: v for k, v in verdicts.items() if v != "right"}}
    if not result:
        options.error(f"found no */ablation in {args.metrics}, expected cells; run `dvc repro ablate` with some listed")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
