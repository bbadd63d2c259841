"""Accuracy on colored MNIST by how much the colours vary: does the digit, read off its colour, get harder to tell apart?

Runs the pipeline once per variance, as a DVC experiment beside the working tree, and writes docs/results/colour_variance.json
after each, for `python -m benchmarks.mnist_page`. Stages that are finished, here or before an interruption, come from DVC's
run cache.
Usage: python -m benchmarks.colour_variance [--variances 0.02 0.03 0.04 0.05] [--seeds 0]
"""

import argparse
import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dvc.api

from benchmarks.common import experiment_command
from benchmarks.mnist_page import ROOT, VARIANCES
from cgn.config import load_params
from cgn.evaluation import tables

DATASET = "colored"
_LISTS = {"classifiers": ["original", "oracle"], "generators": ["cgn"], "mixes": ["cf_only", "original_cf"]}


def command(variance: float, *, scale: str, seeds: list[int]) -> list[str]:
    """What makes the cells of one variance, the experiment's name aside."""
    targets = [one.target(scale, DATASET, seed) for seed in seeds for one in _experiments()]
    lists: dict[str, Sequence[object]] = {"seeds": seeds, "datasets_run": [DATASET], **_LISTS}
    return experiment_command(scale, lists, targets, f"datasets.{DATASET}.color_std={variance**0.5:.10f}")


def _experiments() -> list[tables.Experiment]:
    return tables.experiments(load_params(ROOT / "params.yaml").model_copy(update=_LISTS))


def accuracies(name: str, *, scale: str, seeds: list[int]) -> dict[str, list[float]]:
    """Test accuracy of every method, seed by seed, of a finished experiment."""
    folder = Path("data") / "metrics" / scale / DATASET
    found: dict[str, list[float]] = {}
    for one in _experiments():
        cells = (
            dvc.api.metrics_show(str(folder / f"{one.name}-{seed}.json"), repo=str(ROOT), rev=name) for seed in seeds
        )
        found[one.name] = [cell["test"]["accuracy"] for cell in cells]
    return found


def main() -> None:
    """Run what is missing, keep what is there, and print all of it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--variances", type=float, nargs="+", default=[0.02, 0.03, 0.04, 0.05])
    options.add_argument("--scale", choices=["demo", "full"], default="demo")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = options.parse_args()
    runs = json.loads(VARIANCES.read_text(encoding="utf-8")) if VARIANCES.is_file() else []
    for variance in args.variances:
        run = command(variance, scale=args.scale, seeds=args.seeds)
        name = f"colour-variance-{args.scale}-{variance:g}".replace(".", "-")
        forget = ["dvc", "exp", "remove", name]  # of an earlier start, where there was one
        subprocess.run(forget, cwd=ROOT, capture_output=True, check=False)
        subprocess.run([*run[:3], "--name", name, *run[3:]], cwd=ROOT, check=True)
        found = accuracies(name, scale=args.scale, seeds=args.seeds)
        made = {
            "variance": variance,
            "scale": args.scale,
            "seeds": args.seeds,
            "test": found,
            "command": shlex.join(run),
        }
        runs = sorted([*(one for one in runs if _cell(one) != _cell(made)), made], key=_cell)
        VARIANCES.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(runs, indent=1))


def _cell(run: dict[str, Any]) -> tuple[str, float]:
    return run["scale"], run["variance"]


if __name__ == "__main__":
    main()
