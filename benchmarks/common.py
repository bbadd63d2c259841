"""What the benchmarks share: images to work on, a clock, and JSON."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cgn.checkpoints import FILE_NAME
from cgn.config import DatasetName, GeneratorConfig, Params, load_params
from cgn.data import NO_TEXTURES, make_split
from cgn.data.sources import bundled_digits
from cgn.data.types import LabelledImages
from cgn.generators import Generator
from cgn.rng import stream
from stages.generators import keeps_shapes, load_generator
from stages.training import set_compute

DATASET: DatasetName = "double_colored"


def prepare() -> Params:
    """params.yaml, with its threads set for this process."""
    params = load_params(Path("params.yaml"))
    set_compute(params.compute)
    return params


def options_of_a_generator(description: str | None) -> argparse.ArgumentParser:
    """Options that say which trained generator a benchmark is of; it may add its own."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--scale", default="demo")
    options.add_argument("--dataset", default=DATASET)
    options.add_argument("--generator", default="cgn")
    options.add_argument("--seed", type=int, default=0)
    return options


def checkpoint_of(args: argparse.Namespace) -> Path:
    """The checkpoint file of the generator that `options_of_a_generator` name."""
    return Path("data/checkpoints", args.scale, args.dataset, args.generator, str(args.seed), FILE_NAME)


def load_inferring_generator(path: Path, *, dataset: str, seed: int) -> tuple[Generator, GeneratorConfig]:
    """The generator of a checkpoint file, and how it was trained.

    Raises: ValueError where its counterfactuals do not keep the shapes of training images.
    """
    generator, config = load_generator(path, dataset=dataset, seed=seed)
    if not keeps_shapes(config):
        raise ValueError(f"{path}: found a generator that keeps nothing of an image, expected one that infers masks")
    return generator, config


def images(params: Params) -> LabelledImages:
    """The biased training images of double-colored MNIST, from the bundled digits."""
    config = params.datasets.double_colored
    digits = bundled_digits(500)["train"]
    return make_split(DATASET, digits, config=config, correlation=1.0, rng=stream(0, "benchmark"), textures=NO_TEXTURES)


def second_part(val: Path, masks: Path | None, folder: Path) -> tuple[str, str | None]:
    """Photographs to be the part train beside a part val, of which they are copies and yet, by a byte, other files; and masks or boxes by
    part, which are the same for both. Returns both folders.
    """
    train, of_parts = folder / "train", folder / "of_parts"
    for path in sorted(path for path in val.rglob("*") if path.is_file()):
        copy = train / path.relative_to(val)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes() + b" ")
    if masks is None:
        return str(train), None
    of_parts.mkdir()
    for part in ("train", "val"):
        (of_parts / part).symlink_to(masks.absolute())
    return str(train), str(of_parts)


def experiment_command(
    scale: str, lists: Mapping[str, Sequence[object]], targets: Sequence[str], *more: str
) -> list[str]:
    """What makes some stages beside the working tree, with these lists of params.yaml and `more` settings, each `name=value`."""
    settings = [f"scale={scale}", *(f"{name}=[{','.join(map(str, values))}]" for name, values in lists.items()), *more]
    return ["dvc", "exp", "run", "--temp", *(word for one in settings for word in ("-S", one)), *targets]


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def summary(values: list[float]) -> dict[str, float]:
    """Median and range of repeated measurements."""
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
        "repeats": len(values),
    }


def report(name: str, **figures: Any) -> None:
    """Print the figures, with what they were measured on, as JSON."""
    setting = {"threads": torch.get_num_threads(), "cpus": os.cpu_count(), "torch": torch.__version__}
    json.dump({"benchmark": name, **figures, "setting": setting}, sys.stdout, indent=2)
    sys.stdout.write("\n")
