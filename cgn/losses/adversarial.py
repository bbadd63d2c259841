"""Adversarial losses."""

import torch
from torch import Tensor

from cgn.contracts import Scalar


def discriminator_hinge(real: Tensor, fake: Tensor) -> Scalar:
    """How far real scores stay below 1 and fake scores above -1; both (batch,).

    Source: Lim & Ye 2017, equation 2.
    """
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()


def generator_hinge(fake: Tensor) -> Scalar:
    """Minus the mean score (batch,) of what the generator made."""
    return -fake.mean()
