"""Images per second of CGN training: the `fast` recipe beside `authors_code`, in turn, on the same images.

`authors_code` runs with random VGG weights: they take as long as trained ones. Usage: python -m benchmarks.generator_training
"""

import argparse

from benchmarks.common import DATASET, images, prepare, report, seconds, summary
from cgn.config import AuthorsCgnConfig, FastCgnConfig
from cgn.generators import AuthorsCgnTraining, FastCgnTraining, GeneratorTraining, Run
from cgn.models.vgg import random_vgg_features


def _steps(training: GeneratorTraining, count: int) -> float:
    training.num_steps = training.step + count
    return seconds(lambda: list(training.records()))


def main() -> None:
    """Measure both recipes by turns and print the ratio of their medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--fast-steps", type=int, default=150)
    options.add_argument("--authors-steps", type=int, default=50)
    args = options.parse_args()
    params = prepare()
    pixels, labels = images(params)[:2]
    fast, authors = params.generator["cgn"], params.generator["cgn_authors"]
    if not isinstance(fast, FastCgnConfig) or not isinstance(authors, AuthorsCgnConfig):
        raise ValueError(
            "params.yaml: generator.cgn has to be of recipe fast and generator.cgn_authors of authors_code"
        )
    run = Run(DATASET, num_images=1, precision=params.compute.precision, seed=0, attempt=0)
    contenders: dict[str, tuple[GeneratorTraining, int]] = {
        "fast": (FastCgnTraining(fast, pixels, labels, run), args.fast_steps),
        "authors_code": (
            AuthorsCgnTraining(authors, pixels, labels, run, vgg=random_vgg_features(0)),
            args.authors_steps,
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for training, steps in contenders.values():  # warm up
        _steps(training, max(2, steps // 5))
    for _ in range(args.repeats):
        for name, (training, steps) in contenders.items():
            before = training.images_seen
            seconds = _steps(training, steps)
            rates[name].append((training.images_seen - before) / seconds)
    speeds = {name: summary(values) for name, values in rates.items()}
    ratio = speeds["fast"]["median"] / speeds["authors_code"]["median"]
    report("generator_training", images_per_second=speeds, ratio=round(ratio, 1), precision=params.compute.precision)


if __name__ == "__main__":
    main()
