"""Intervals by bootstrap over images: how far a number would move had other images been drawn."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

NUM_RESAMPLES = 2000
_LIMITS = (0.025, 0.975)

PROTOCOL = f"95 %: percentiles of {NUM_RESAMPLES} resamples of the images, with replacement"


class Interval(NamedTuple):
    """A number with the limits that hold it in 95 of 100 draws of as many images."""

    value: float
    low: float
    high: float


def interval(value: float, resampled: Float[Tensor, " resamples"]) -> Interval:
    """A number with the percentiles of what it is in resamples."""
    low, high = torch.quantile(resampled.double(), torch.tensor(_LIMITS, dtype=torch.float64)).tolist()
    return Interval(value, low, high)


def resampled_counts(share: float, num: int | Tensor, rng: torch.Generator) -> Float[Tensor, " resamples"]:
    """How many of `num` images are of a kind, of which `share` of the images that they are drawn from are: a number per resample.

    That is a binomial number, and drawn as one: sets of any size take no memory. `num` may itself be a number per resample.
    """
    nums = torch.as_tensor(num, dtype=torch.float64).expand(NUM_RESAMPLES).contiguous()
    return torch.binomial(nums, torch.full_like(nums, share), generator=rng)
