"""Images per second of classifier training from shards, against the same images already in memory.

From shards: tars are hashed, PNGs decoded, then trained on, as the stage does. Usage: python -m benchmarks.classifier_reading
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import DATASET, images, prepare, report, summary
from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.config import ClassifierBudget, ErmConfig, Precision
from cgn.shards import Batch, read_split, write_shard_set

_COPIES = 6  # of the 3,500 training images: as many as the demo's original and counterfactual images together


def main() -> None:
    """Measure both by turns and print the ratio of their medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", default="demo")
    options.add_argument("--repeats", type=int, default=3)
    args = options.parse_args()
    params = prepare()
    budget = params.scales[args.scale].classifier
    few = images(params)
    batch = Batch(
        few.pixels.repeat(_COPIES, 1, 1, 1),
        few.labels.repeat(_COPIES),
        few.factors._replace(**{name: part.repeat(_COPIES) for name, part in few.factors._asdict().items()}),
        few.low_contrast.repeat(_COPIES),
    )
    rates: dict[str, list[float]] = {"memory": [], "shards": []}
    reading = []
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "set"
        write_shard_set(shards, name=DATASET, seed=0, splits={"train": batch}, images_per_shard=10_000)
        warm_up = budget.model_copy(update={"num_images": 20 * budget.batch_size})
        _train(Source(batch.pixels, batch.labels), warm_up, params.compute.precision)
        for _ in range(args.repeats):
            memory, _ = _measure(lambda: batch, budget, params.compute.precision)
            rates["memory"].append(memory)
            whole, read_seconds = _measure(lambda: read_split(shards, "train"), budget, params.compute.precision)
            rates["shards"].append(whole)
            reading.append(read_seconds)
    speeds = {name: summary(values) for name, values in rates.items()}
    report(
        "classifier_reading",
        images_per_second=speeds,
        ratio=round(speeds["shards"]["median"] / speeds["memory"]["median"], 2),
        images_read_per_second=summary([len(batch.labels) / value for value in reading]),
        images_seen=budget.num_images,
        images_read=len(batch.labels),
    )


def _measure(read: Callable[[], Batch], budget: ClassifierBudget, precision: Precision) -> tuple[float, float]:
    """Images trained on per second, reading included, and the seconds of the reading alone."""
    started = time.perf_counter()
    pixels, labels = read()[:2]
    reading = time.perf_counter() - started
    _train(Source(pixels, labels), budget, precision)
    return budget.num_images / (time.perf_counter() - started), reading


def _train(source: Source, budget: ClassifierBudget, precision: Precision) -> None:
    config = ErmConfig(rule="erm", mix={"train": 1.0})
    training = ClassifierTraining(
        config, {"train": source}, budget, precision=precision, seed=0, plain_area_lr_share=1.0
    )
    for _ in training.records():
        pass


if __name__ == "__main__":
    main()
