"""Which texture and background an image gets: the bias of a data set in one number."""

from collections.abc import Sequence

import torch

from cgn.contracts import Factors, Labels
from cgn.mnist import NUM_CLASSES

UNBIASED = 1 / NUM_CLASSES  # the correlation at which a cue says nothing about the class


def draw_factors(labels: Labels, correlation: float, rng: torch.Generator, cues: Sequence[str]) -> Factors:
    """Factors whose shape is the label and whose every cue equals it with probability `correlation`.

    A cue that differs is uniform over the nine other classes, and cues are drawn independently of each other.
    A background that is no cue is -1 throughout.

    Raises: ValueError for a correlation outside [0, 1], or cues without the texture.
    """
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation: found {correlation}, expected a probability; change it in params.yaml")
    if "texture" not in cues or not set(cues) <= {"texture", "background"}:
        raise ValueError(f"cues: found {tuple(cues)}, expected 'texture' and at most 'background' beside it")
    drawn = {cue: _draw_cue(labels, correlation, rng) for cue in ("texture", "background") if cue in cues}
    background = drawn.get("background", torch.full_like(labels, -1))
    return Factors(shape=labels.clone(), texture=drawn["texture"], background=background)


def _draw_cue(labels: Labels, correlation: float, rng: torch.Generator) -> Labels:
    agrees = torch.rand(len(labels), generator=rng, dtype=torch.float64) < correlation
    step = torch.randint(1, NUM_CLASSES, (len(labels),), generator=rng)
    return torch.where(agrees, labels, (labels + step) % NUM_CLASSES)
