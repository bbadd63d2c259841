"""Procedural textures: striped ones for objects and veined ones for backgrounds, from a seed alone."""

import colorsys
import math

import torch
from torch import Tensor

from cgn.data.types import Texture, Textures
from cgn.mnist import NUM_CLASSES
from cgn.rng import stream

SIDE_PX = 300


def procedural_textures(seed: int = 0) -> Textures:
    """Ten striped and ten veined textures of 300 x 300 pixels.

    Classes differ in colours, frequency, orientation, warp and shading, so that a crop of a ninth of the width tells
    them apart.
    """
    return Textures(
        object=tuple(_striped(label, stream(seed, "striped", label)) for label in range(NUM_CLASSES)),
        background=tuple(_veined(label, stream(seed, "veined", label)) for label in range(NUM_CLASSES)),
    )


def _striped(label: int, rng: torch.Generator) -> Texture:
    y, x = _grid()
    jitter = torch.rand(5, generator=rng).tolist()
    angle = math.pi * ((3 * label % NUM_CLASSES) + 0.6 * jitter[0]) / NUM_CLASSES
    period_px = 14 + 2.2 * (7 * label % NUM_CLASSES) + 2 * jitter[1]
    along = x * math.cos(angle) + y * math.sin(angle) + (3 + 7 * jitter[2]) * _waves(rng, period_px=(90, 160))
    wave = torch.sin(2 * math.pi * along / period_px) + 0.25 * _waves(rng, period_px=(12, 40))
    stripe = torch.sigmoid((2 + 6 * jitter[3]) * (wave - 0.5 + jitter[4]))
    hue = label / NUM_CLASSES
    light = _rgb(hue, (0.15, 0.75)[label % 2], 0.95)
    dark = _rgb(hue + (0.05, 0.45)[label % 2], 0.9, (0.15, 0.5)[label // 2 % 2])
    return _shaded(stripe, light, dark, rng)


def _veined(label: int, rng: torch.Generator) -> Texture:
    jitter = torch.rand(3, generator=rng).tolist()
    period_px = 22 + 3 * (3 * label % NUM_CLASSES)
    field = _waves(rng, period_px=(period_px, 2 * period_px))
    fine = _waves(rng, period_px=(8, 20))
    distance = (field + 0.12 * fine).abs()  # veins run where the field crosses zero
    vein = torch.exp(-((distance / (0.12 + 0.2 * jitter[0])) ** 2))
    hue = (7 * label % NUM_CLASSES + 0.5) / NUM_CLASSES
    ground = _rgb(hue, 0.35 + 0.4 * jitter[1], (0.85, 0.4)[label % 2])
    line = _rgb(hue + (0.5, 0.1)[label // 2 % 2], 0.6, (0.2, 0.9)[label % 2])
    return _shaded(vein, line, ground, rng)


def _grid() -> tuple[Tensor, Tensor]:
    side = torch.arange(SIDE_PX, dtype=torch.float64)
    return side[:, None], side[None, :]


def _waves(rng: torch.Generator, period_px: tuple[int, int], num_waves: int = 24) -> Tensor:
    """A smooth random field of about unit variance: plane waves of random directions and of periods in the range."""
    angle, period, phase = torch.rand(3, num_waves, 1, 1, generator=rng, dtype=torch.float64)
    y, x = _grid()
    period = period_px[0] + (period_px[1] - period_px[0]) * period
    along = x * torch.cos(2 * math.pi * angle) + y * torch.sin(2 * math.pi * angle)
    return torch.sin(2 * math.pi * (along / period + phase)).sum(dim=0) * math.sqrt(2 / num_waves)


def _rgb(hue: float, saturation: float, value: float) -> Tensor:
    return torch.tensor(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=torch.float64)[:, None, None]


def _shaded(weight: Tensor, first: Tensor, second: Tensor, rng: torch.Generator) -> Texture:
    """A blend of two colours under uneven light, with grain."""
    light = 1 + 0.1 * _waves(rng, period_px=(100, 250))
    grain = 0.02 * torch.randn(1, SIDE_PX, SIDE_PX, generator=rng, dtype=torch.float64)
    colours = (weight * first + (1 - weight) * second) * light + grain
    return colours.mul(255).round().clamp(0, 255).to(torch.uint8)
