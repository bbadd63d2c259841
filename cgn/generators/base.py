"""What every CGN for MNIST and every training run of one has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from cgn.composer import compose
from cgn.config import DatasetName, GeneratorConfig
from cgn.contracts import Factors, Images, Masks
from cgn.generators.collapse import MaskStatistics
from cgn.training import Training


class Noise(NamedTuple):
    """The exogenous noise of every mechanism: (batch, numbers) each, and the textures' shifts, int64 (batch, 2)."""

    shape: Tensor
    texture: Tensor
    background: Tensor
    texture_shift: Tensor
    background_shift: Tensor


class Layers(NamedTuple):
    """What the mechanisms make."""

    mask: Masks
    foreground: Images
    background: Images

    @property
    def composite(self) -> Images:
        """The image."""
        return compose(self.mask, self.foreground, self.background)


class Cgn(nn.Module, ABC):
    """Shape, texture and background mechanisms, each with a label of its own."""

    @abstractmethod
    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """Mask, foreground and background of every image. With three equal labels: what the training set shows."""

    @abstractmethod
    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Noise for a batch, independent between the mechanisms."""


class Run(NamedTuple):
    """What a training run is told beside its recipe and its images."""

    dataset: DatasetName
    num_images: int  # the scale's budget
    precision: str
    seed: int
    attempt: int


class GeneratorTraining(Training, Protocol):
    """A training run that can be looked at: its masks, and what it makes of fixed noise."""

    @property
    def config(self) -> GeneratorConfig:
        """The recipe."""
        ...

    def fixed_layers(self) -> Layers:
        """What the generator makes of the fixed noise, classes 0 to 9 in turn."""
        ...

    def statistics(self) -> MaskStatistics:
        """The mask's statistics over the fixed noise."""
        ...


def finite_numbers(losses: Mapping[str, Tensor], *, step: int) -> dict[str, float]:
    """The losses as numbers.

    Raises: ValueError where one is not finite: the run cannot recover.
    """
    numbers = {name: loss.item() for name, loss in losses.items()}
    for name, value in numbers.items():
        if not abs(value) < float("inf"):
            raise ValueError(f"step {step}: found {name} {value}, expected a finite number; lower the generator's lr")
    return numbers
