"""How much a difference has to exceed before it says something."""

import math
from collections.abc import Sequence

from scipy.special import ndtr, stdtrit

from cgn.evaluation.tables import Spread

_ERRORS = 2  # standard errors, where errors are known: 95 of 100 differences that are none stay below


def margin(of_images: float, spreads: Sequence[Spread]) -> float:
    """Two standard errors, where `of_images` is the variance that measuring on finitely many images gives the difference, and
    `spreads` are the numbers over seeds that are subtracted or added.

    A standard deviation of few seeds is itself uncertain: their part counts times Student's t instead of two, with as many
    degrees of freedom as all spreads have together. One seed tells nothing of what another would change, and adds nothing.
    """
    freedom = sum(len(spread.values) - 1 for spread in spreads)
    of_seeds = sum((spread.std or 0.0) ** 2 / len(spread.values) for spread in spreads)
    factor = float(stdtrit(freedom, ndtr(_ERRORS))) if freedom else 0.0
    return math.sqrt(_ERRORS**2 * of_images + factor**2 * of_seeds)
