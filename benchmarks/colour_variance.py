"""Accuracy on colored MNIST by how much the colours vary: does the digit, read off its colour, get harder to tell apart?

Runs the pipeline once per variance, as a DVC experiment beside the working tree, and writes docs/results/colour_variance.json
after each, for `python -m benchmarks.mnist_page`. What is finished, here or before an interruption, is not run again.
Usage: python -m benchmarks.colour_variance [--variances 0.02 0.03 0.04 0.05] [--seeds 0]
"""

import argparse
import json
import subprocess
from pathlib import Path

import dvc.api

from cgn.config import load_params
from cgn.evaluation import tables

ROOT = Path(__file__).parents[1]
DATASET = "colored"
RESULT = ROOT / "docs" / "results" / "colour_variance.json"
_EXPERIMENTS = ("original", "cgn-cf_only", "cgn-original_cf", "oracle")


def command(variance: float, *, scale: str, seeds: list[int]) -> list[str]:
    """What makes the cells of one variance, the experiment's name aside."""
    params = load_params(ROOT / "params.yaml")
    found = [one for one in tables.experiments(params) if one.name in _EXPERIMENTS]
    targets = [one.command(scale, DATASET, seed).removeprefix("dvc repro ") for seed in seeds for one in found]
    listed = ",".join(map(str, seeds))
    changed = (f"scale={scale}", f"seeds=[{listed}]", f"datasets_run=[{DATASET}]")
    deviation = f"datasets.{DATASET}.color_std={variance**0.5:.10f}"
    settings = [text for setting in (*changed, deviation) for text in ("-S", setting)]
    return ["dvc", "exp", "run", "--temp", *settings, *targets]


def accuracies(name: str, *, scale: str, seeds: list[int]) -> dict[str, list[float]]:
    """Test accuracy of every method, seed by seed, of a finished experiment."""
    folder = Path("data") / "metrics" / scale / DATASET
    found: dict[str, list[float]] = {}
    for one in _EXPERIMENTS:
        cells = (dvc.api.metrics_show(str(folder / f"{one}-{seed}.json"), repo=str(ROOT), rev=name) for seed in seeds)
        found[one] = [cell["test"]["accuracy"] for cell in cells]
    return found


def main() -> None:
    """Run what is missing and print what was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--variances", type=float, nargs="+", default=[0.02, 0.03, 0.04, 0.05])
    options.add_argument("--scale", choices=["demo", "full"], default="demo")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = options.parse_args()
    result = []
    for variance in args.variances:
        name = f"colour-variance-{args.scale}-{variance:g}".replace(".", "-")
        run = command(variance, scale=args.scale, seeds=args.seeds)
        subprocess.run([*run[:3], "--force", "--name", name, *run[3:]], cwd=ROOT, check=True)
        found = accuracies(name, scale=args.scale, seeds=args.seeds)
        result.append(
            {"variance": variance, "scale": args.scale, "seeds": args.seeds, "test": found, "command": " ".join(run)}
        )
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
