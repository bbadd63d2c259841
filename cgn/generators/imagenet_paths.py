"""Ways through noise and between classes: the points that a CGN is shown at, one after another."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Vector = Float[Tensor, " dim"]
Points = Float[Tensor, "points dim"]
Vectors = Float[Tensor, "vectors dim"]
Shares = Float[Tensor, " points"]  # of the way: 0 is the start, 1 the end
_PARALLEL = 1e-6  # sine of an angle below which an arc is a straight line


def linear(start: Vector, end: Vector, shares: Shares) -> Points:
    """Points of the straight way; both ends are exact. For classes, whose mixture is the mixture of their vectors."""
    return torch.lerp(start, end, shares[:, None])


def spherical(start: Vector, end: Vector, shares: Shares) -> Points:
    """Points of the arc around the origin, in equal angles for equal shares; both ends are exact.

    For noise: the straight way passes near the origin, where hardly any draw lies. Coordinates of points between may lie
    beyond the draws' limit by a factor of 1.42 at most where the ends are at a right angle, as draws nearly are.
    Source: Shoemake 1985 (slerp).
    """
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = cosine.clamp(-1, 1).arccos()
    if angle.sin() < _PARALLEL:
        return linear(start, end, shares)
    before = ((1 - shares) * angle).sin() / angle.sin()
    after = (shares * angle).sin() / angle.sin()
    points: Tensor = before[:, None] * start + after[:, None] * end
    return points


def closed(stops: Vectors, steps: int, way: Callable[[Vector, Vector, Shares], Points]) -> Points:
    """So many points from every stop on towards the next, and from the last back to the first, which is not repeated."""
    shares = torch.arange(steps) / steps
    return torch.cat([way(start, end, shares) for start, end in zip(stops, stops.roll(-1, 0), strict=True)])
