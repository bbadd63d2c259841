"""Images per second of training in bfloat16 and in float32, by turns: what `compute.precision` costs or brings here.

`ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.precision` shows the same for a CPU without bf16 instructions or AVX512.
Usage: python -m benchmarks.precision
"""

import argparse
import os
from collections.abc import Callable
from typing import get_args

from benchmarks.common import DATASET, images, prepare, report, seconds, summary
from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.config import FastCgnConfig, Precision, SplitName
from cgn.generators import FastCgnTraining, Run
from cgn.training import Training


def main() -> None:
    """Measure the generator's and the classifier's training and print the ratios of their medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--generator-images", type=int, default=3_200)
    options.add_argument("--classifier-images", type=int, default=12_800)
    args = options.parse_args()
    params = prepare()
    pixels, labels = images(params)[:2]
    config, budget = params.generator["cgn"], params.scales["demo"].classifier
    if not isinstance(config, FastCgnConfig):
        raise ValueError("params.yaml: generator.cgn has to be of recipe fast")
    source: dict[SplitName, Source] = {"train": Source(pixels, labels)}

    def generator(precision: Precision, num_images: int) -> Training:
        return FastCgnTraining(config, pixels, labels, Run(DATASET, num_images, precision, seed=0, attempt=0))

    def classifier(precision: Precision, num_images: int) -> Training:
        some = budget.model_copy(update={"num_images": num_images})
        share = params.classifier.plain_area_lr_share[DATASET]
        return ClassifierTraining(
            params.methods["original"], source, some, precision=precision, seed=0, plain_area_lr_share=share
        )

    rates = {
        "generator": _rates(generator, args.generator_images, args.repeats),
        "classifier": _rates(classifier, args.classifier_images, args.repeats),
    }
    report(
        "precision",
        images_per_second=rates,
        ratio={
            name: round(found["bfloat16"]["median"] / found["float32"]["median"], 2) for name, found in rates.items()
        },
        onednn_max_cpu_isa=os.environ.get("ONEDNN_MAX_CPU_ISA", "not limited"),
    )


def _rates(
    build: Callable[[Precision, int], Training], num_images: int, repeats: int
) -> dict[Precision, dict[str, float]]:
    """The rates of both precisions, measured by turns after one run of a tenth to warm up."""
    found: dict[Precision, list[float]] = {precision: [] for precision in get_args(Precision)}
    for precision in found:
        _train(build(precision, num_images // 10))
    for _ in range(repeats):
        for precision, rates in found.items():
            training = build(precision, num_images)
            rates.append(num_images / seconds(lambda training=training: _train(training)))  # type: ignore[misc]
    return {precision: summary(rates) for precision, rates in found.items()}


def _train(training: Training) -> None:
    for _ in training.records():
        pass


if __name__ == "__main__":
    main()
