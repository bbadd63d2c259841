"""Images per second of the invariant ensemble's training, beside a plain training loop of one head on the same backbone and images.

The plain loop is that of torchvision's references/classification: its dataset, transforms, loader, float32, one head. The ensemble
has three heads and shows as many images per step, half of them as counterfactuals. Both decode and augment JPEGs, with as many
processes that do so, and neither freezes batch normalisation.

Usage: python -m benchmarks.ensemble_training [--images ../shared/data/imagenet_samples] [--backbone resnet18] [--num-workers 0]
"""

import argparse
import functools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.common import prepare, report, seconds, summary
from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.classifiers.imagenet_fit import FitSetting, ImagenetTraining
from cgn.classifiers.imagenet_sources import EncodedImages
from cgn.config import Precision, TrainingRecipe
from cgn.data.image_sets import read_class_folders
from cgn.models.backbones import Backbone, new_backbone, preprocessing
from cgn.models.ensemble import THREE_HEADS, form_of, headed
from cgn.rng import stream
from stages.classifier_sources import augmented
from stages.devices import device

# isort: split
from torchvision import datasets, transforms

_STEPS = 10  # at a time


class _PlainLoop:
    """One head, as torchvision's reference trains it."""

    def __init__(self, args: argparse.Namespace, recipe: TrainingRecipe) -> None:
        given = preprocessing(args.backbone, "IMAGENET1K_V1")
        prepare_image = transforms.Compose(
            [
                transforms.RandomResizedCrop(args.image_px),
                transforms.RandomHorizontalFlip(),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize(given.mean, given.std),
            ]
        )
        images = datasets.ImageFolder(str(args.images), prepare_image)
        self.loader: DataLoader[Any] = DataLoader(
            images,
            args.batch_size,
            shuffle=True,
            num_workers=args.num_workers,
            drop_last=True,
            generator=stream(0),
            pin_memory=device().type == "cuda",
        )
        self.network = new_backbone(args.backbone).train().to(device())
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def train(self) -> None:
        """So many steps."""
        for _ in range(_STEPS):
            images, labels = next(self.batches)
            images, labels = images.to(device(), non_blocking=True), labels.to(device(), non_blocking=True)
            loss = self.criterion(self.network(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        loss.item()


class _Ours:
    """The product's training."""

    def __init__(self, args: argparse.Namespace, recipe: TrainingRecipe, precision: Precision) -> None:
        samples = read_class_folders(args.images)
        given = preprocessing(args.backbone, "IMAGENET1K_V1")
        backbone = Backbone(new_backbone(args.backbone), args.backbone, "IMAGENET1K_V1", "random", "", given)
        form = form_of(
            backbone, heads=THREE_HEADS, classes="imagenet", cut=args.cut, linear=False, image_px=args.image_px
        )
        network = headed(backbone, form, seed=0, config={}).to(device())
        real, made = (
            EncodedImages(samples, augmented(form), seed=0, name=name) for name in ("images", "counterfactuals")
        )
        setting = FitSetting(
            recipe,
            precision,
            0,
            num_epochs=10**6,
            batch_size=args.batch_size // 2,
            num_workers=args.num_workers,
        )
        training = ImagenetTraining(network, {"images": real}, {"images": 1.0}, setting, counterfactuals=made)
        self.records = training.records()

    def train(self) -> None:
        """So many steps: a record comes after every ten."""
        next(self.records)


def main() -> None:
    """Measure all by turns and print images per second and ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=Path, default=Path("../shared/data/imagenet_samples"))
    options.add_argument("--backbone", default="resnet18")
    options.add_argument("--image-px", type=int, default=224)
    options.add_argument("--batch-size", type=int, default=16, help="images per step, of all kinds")
    options.add_argument("--cut", type=int, default=1)
    options.add_argument("--num-workers", type=int, default=0)
    options.add_argument("--repeats", type=int, default=3)
    args = options.parse_args()
    recipe = prepare().imagenet_training["paper"].model_copy(update={"lr": 0.01})
    makers: dict[str, Any] = {
        "plain_loop": functools.partial(_PlainLoop, args, recipe),
        "ensemble_float32": functools.partial(_Ours, args, recipe, "float32"),
        "ensemble_bfloat16": functools.partial(_Ours, args, recipe, "bfloat16"),
    }
    contenders = {name: make() for name, make in makers.items()}
    rates: dict[str, list[float]] = {name: [] for name in makers}
    for repeat in range(args.repeats + 1):
        for name, contender in contenders.items():
            taken = seconds(contender.train)
            if repeat:  # the first warms up
                rates[name].append(_STEPS * args.batch_size / taken)
    plain = statistics.median(rates["plain_loop"])
    report(
        "ensemble_training",
        device=torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
        backbone=args.backbone,
        image_px=args.image_px,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        images_per_second={name: summary(found) for name, found in rates.items()},
        times_the_plain_loop={
            name: round(statistics.median(found) / plain, 2) for name, found in rates.items() if name != "plain_loop"
        },
        bar=0.9,
    )


if __name__ == "__main__":
    main()
