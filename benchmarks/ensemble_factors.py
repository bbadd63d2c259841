"""The invariant ensemble where every factor is known: each head's accuracy on its own factor, and on the others.

The class and the training loop of ImageNet's classifiers, on double-colored digits and the counterfactuals of a trained CGN, on a
small backbone. Heads are measured on counterfactuals that were held out, and on the real test images, whose
factors are independent too. `dvc repro generate@demo-double_colored-cgn-0` makes the counterfactuals.

Usage: python -m benchmarks.ensemble_factors [--counterfactuals data/shards/demo/double_colored/cgn/0]
"""

import argparse
import itertools
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from benchmarks.common import prepare, report, seconds
from cgn.classifiers.imagenet_fit import FitSetting, ImagenetTraining
from cgn.classifiers.imagenet_sources import EncodedImages
from cgn.config import TrainingRecipe
from cgn.data.preprocessing import Square, as_pixels
from cgn.encoded import Samples
from cgn.models.backbones import Backbone, Preprocessing
from cgn.models.ensemble import THREE_HEADS, HeadedClassifier, form_of, headed
from cgn.rng import stream
from cgn.shards import read_split
from cgn.shards.encoded import encoded_split
from cgn.training import seeded

_HALF = (0.5, 0.5, 0.5)
_HELD_OUT = 0.1  # share of the counterfactuals


def _unchanged(image: Image.Image, _: torch.Generator) -> Square:
    return as_pixels(image)


def _rows(samples: Samples, rows: range) -> Samples:
    images, keys = [samples.images[row] for row in rows], [samples.keys[row] for row in rows]
    return Samples(images, keys, samples.classes[rows.start : rows.stop])


def _backbone() -> nn.Sequential:
    """A convolutional network for digits, 0.3 million weights: normalised, for the rates of stochastic gradient descent."""

    def layer(inputs: int, channels: int, size: int, *, stride: int = 1) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, channels, size, stride, size // 2, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    return nn.Sequential(
        layer(3, 32, 5),
        nn.MaxPool2d(2),
        layer(32, 64, 3),
        layer(64, 64, 3, stride=2),
        layer(64, 128, 3),
        layer(128, 128, 3, stride=2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


@torch.no_grad()
def accuracies(network: HeadedClassifier, pixels: torch.Tensor, classes: torch.Tensor) -> dict[str, dict[str, float]]:
    """Of every head, how often it says each of the three factors."""
    network.eval()
    parts = [network(some) for some in pixels.split(500)]
    said = {head: torch.cat([part[head].argmax(1) for part in parts]) for head in network.heads}
    return {
        head: {
            factor: round((found == classes[:, place]).float().mean().item(), 4)
            for place, factor in enumerate(THREE_HEADS)
        }
        for head, found in said.items()
    }


def main() -> None:
    """Train, and print accuracies by head and factor."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--counterfactuals", type=Path, default=Path("data/shards/demo/double_colored/cgn/0"))
    options.add_argument("--real", type=Path, default=Path("data/shards/demo/double_colored/real"))
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--cf-ratio", type=float, default=4.0)
    options.add_argument("--cut", type=int, default=1)
    options.add_argument("--lr", type=float, default=0.03)
    args = options.parse_args()
    params = prepare()
    made, train, test = (
        encoded_split(args.counterfactuals, "generated"),
        encoded_split(args.real, "train"),
        read_split(args.real, "test"),
    )
    count = round(len(made.keys) * (1 - _HELD_OUT))
    recipe = TrainingRecipe(
        num_epochs=args.epochs,
        batch_size=32,
        lr=args.lr,
        momentum=0.9,
        weight_decay=1e-4,
        lr_milestones=[round(0.6 * args.epochs), round(0.85 * args.epochs)],
        lr_factor=0.1,
        freeze_batch_norm=False,
    )
    own = Backbone(
        seeded(stream(0, "backbone").initial_seed(), _backbone),
        "digits",
        "",
        "random",
        "",
        Preprocessing(32, 32, "bilinear", _HALF, _HALF),
    )
    form = form_of(own, heads=THREE_HEADS, classes="digits", cut=args.cut, linear=False, image_px=32)
    network = headed(own, form, seed=0, config={})
    training = ImagenetTraining(
        network,
        {"train": EncodedImages(train, _unchanged, seed=0, name="train")},
        {"train": 1.0},
        FitSetting(recipe, params.compute.precision, 0, num_epochs=recipe.num_epochs, batch_size=recipe.batch_size),
        counterfactuals=EncodedImages(_rows(made, range(count)), _unchanged, seed=0, name="generated"),
        cf_ratio=args.cf_ratio,
    )
    last: dict[str, float] = {}

    def run() -> None:
        for record in training.records():
            last.update(record)

    taken = seconds(run)
    all_made = read_split(args.counterfactuals, "generated")
    held_out = accuracies(network, all_made.pixels[count:], made.classes[count:])
    own_factor = {head: held_out[head][head] for head in network.heads}
    others = {
        f"{head} of {factor}": held_out[head][factor] for head, factor in itertools.permutations(network.heads, 2)
    }
    report(
        "ensemble_factors",
        images_seen=training.shares(),
        training_seconds=round(taken, 1),
        last_record={name: round(value, 4) for name, value in last.items()},
        held_out_counterfactuals=held_out,
        real_test_images=accuracies(network, test.pixels, torch.stack(list(test.factors), dim=1)),
        least_on_its_own_factor=min(own_factor.values()),
        most_on_another=max(others.values()),
        bars={"own_factor": 0.85, "other_factors": 0.2},
        reached=min(own_factor.values()) >= 0.85 and max(others.values()) <= 0.2,
    )


if __name__ == "__main__":
    main()
