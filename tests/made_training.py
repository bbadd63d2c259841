"""A small classifier, images of noise, and its training, for tests."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cgn.classifiers.imagenet_fit import FitSetting, ImagenetTraining
from cgn.classifiers.imagenet_sources import TrainingImages
from cgn.config import TrainingRecipe
from cgn.data.preprocessing import Square
from cgn.models.backbones import Backbone, Preprocessing
from cgn.models.ensemble import THREE_HEADS, HeadedClassifier, form_of, headed
from cgn.rng import stream
from cgn.training import seeded

PX = 16
HALF = (0.5, 0.5, 0.5)


def classifier(heads: tuple[str, ...] = THREE_HEADS, *, cut: int = 1, dropout: float = 0.0) -> HeadedClassifier:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, stride=2),
            nn.AvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8, 10),
        )

    backbone = Backbone(seeded(0, build), "own", "", "random", "", Preprocessing(PX, PX, "bilinear", HALF, HALF))
    form = form_of(backbone, heads=heads, classes="digits", cut=cut, linear=False, image_px=PX)
    return headed(backbone, form, seed=0, config={})


class Noise:
    """Images of which every pass shows another crop, as far as training can tell."""

    def __init__(self, num: int, *, known: bool = True, seed: int = 0) -> None:
        self.classes = torch.randint(0, 10, (num, 3), generator=stream(seed, "classes"))
        if not known:
            self.classes[::2, 2] = -1
        self.seed = seed

    def __len__(self) -> int:
        return len(self.classes)

    def labels(self, row: int, passes: int) -> tuple[int, int, int]:
        shape, texture, background = self.classes[row].tolist()
        return shape, texture, background

    def pixels(self, row: int, passes: int) -> Square:
        rng = stream(self.seed, row, passes)
        return torch.randint(0, 256, (3, PX, PX), generator=rng, dtype=torch.uint8)


def recipe(**changes: Any) -> TrainingRecipe:
    given = {
        "num_epochs": 2,
        "batch_size": 8,
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "lr_milestones": [1],
        "lr_factor": 0.1,
        "freeze_batch_norm": False,
    }
    return TrainingRecipe.model_validate({**given, **changes})


def setting(**changes: Any) -> FitSetting:
    of_recipe = {name: changes.pop(name) for name in list(changes) if name in TrainingRecipe.model_fields}
    chosen = recipe(**of_recipe)
    given = {"num_epochs": chosen.num_epochs, "batch_size": chosen.batch_size, "field": "imagenet_training.mine"}
    return FitSetting(chosen, "float32", 0, **{**given, **changes})


def training(
    how: FitSetting | None = None,
    *,
    sources: Mapping[str, TrainingImages] | None = None,
    weights: Mapping[str, float] | None = None,
    made: TrainingImages | None = None,
    cf_ratio: float = 1.0,
    network: HeadedClassifier | None = None,
) -> ImagenetTraining:
    return ImagenetTraining(
        network or classifier(),
        sources or {"images": Noise(50)},
        weights or {"images": 1.0},
        how or setting(),
        counterfactuals=made or Noise(30, known=False, seed=1),
        cf_ratio=cf_ratio,
    )


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], tensor) for name, tensor in other.items())
