"""Facts about the benchmark that measures how colours vary within a class."""

import pytest
import torch

from benchmarks.colour_spread import spread
from cgn.rng import stream


def test_the_spread_is_that_of_the_colours_and_neither_of_classes_nor_of_shapes() -> None:
    classes = torch.arange(5000) % 10
    means = torch.rand(10, 3, generator=stream(0, "means")) * 100 + 100
    colours = means[classes] + 10.2 * torch.randn(5000, 3, generator=stream(0, "noise"))  # 0.04 of 255
    pixels = colours.round().to(torch.uint8)[:, :, None, None].repeat(1, 1, 8, 8)
    pixels[..., :4] = 0  # black around the digit
    pixels[: len(pixels) // 2, :, 4:] = 0  # smaller digits
    pixels[..., 4] //= 2  # a soft edge
    assert spread(pixels, classes) == pytest.approx(0.04, rel=0.05)
    assert spread(pixels, classes // 2 * 2 + torch.arange(5000) // 10 % 2) > 0.06  # of other classes' colours
