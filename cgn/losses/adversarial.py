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


def discriminator_least_squares(real: Tensor, fake: Tensor) -> Scalar:
    """Mean squared distance of real scores from 1 and of fake scores from 0, halved; both (batch,).

    Source: Mao et al. 2017, with targets 0 and 1.
    """
    return (((real - 1) ** 2).mean() + (fake**2).mean()) / 2


def generator_least_squares(fake: Tensor) -> Scalar:
    """Mean squared distance from 1 of the scores (batch,) of what the generator made.

    # Differs from the paper: not halved, as in the repository counterfactual_generative_networks.
    Source: Mao et al. 2017, with targets 0 and 1.
    """
    return ((fake - 1) ** 2).mean()
