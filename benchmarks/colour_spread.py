"""How much the digits' colours vary within a class: in the training images of colored MNIST, and in what generators make of them.

Prints the standard deviation of an image's colour about its class's mean, over classes and channels, on colours in [0, 1]. The class
is the one that the colour was asked to be of. Needs the finished stage `generate` of the generators.
Usage: python -m benchmarks.colour_spread [--scale full] [--generators cgn gan]
"""

import argparse
from pathlib import Path

import torch

from benchmarks.common import report
from cgn.contracts import Labels, Pixels
from cgn.mnist import NUM_CLASSES
from cgn.shards import read_split

_BRIGHT = 0.6  # of an image's brightest pixel: what is inside the digit, not on its soft edge
_NUM_IMAGES = 3000


def spread(pixels: Pixels, classes: Labels) -> float:
    """Standard deviation of the images' colours within classes, of digits on black."""
    images = pixels.float() / 255
    light = images.amax(1, keepdim=True)
    inside = (light > _BRIGHT * light.amax((2, 3), keepdim=True)).float()
    colours = (images * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    variances = [colours[classes == label].var(0).mean() for label in range(NUM_CLASSES)]
    return float(torch.stack(variances).mean().sqrt())


def main() -> None:
    """Measure the training images and every generator's."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", default="demo")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--generators", nargs="+", default=["cgn", "gan"])
    args = options.parse_args()
    folder = Path("data/shards") / args.scale / "colored"
    real = read_split(folder / "real", "train")
    found = {"training images": spread(real.pixels[:_NUM_IMAGES], real.labels[:_NUM_IMAGES])}
    for name in args.generators:
        made = read_split(folder / name / str(args.seed), "generated")
        found[name] = spread(made.pixels[:_NUM_IMAGES], made.factors.texture[:_NUM_IMAGES])
    report("colour_spread", **{name: round(value, 4) for name, value in found.items()})


if __name__ == "__main__":
    main()
