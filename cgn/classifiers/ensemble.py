"""The invariant ensemble's learning rule: real images are told by all heads together, counterfactuals by each head on its own factor.

With one head and without counterfactuals it is empirical risk minimisation.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cgn.contracts import Labels, Scalar
from cgn.schemas import FACTORS

Logits = Mapping[str, Float[Tensor, "batch classes"]]  # by head
NO_LABEL = -1  # of a factor that is not to be told


def averaged(logits: Logits) -> Float[Tensor, "batch classes"]:
    """The mean of all heads' logits. Source: Sauer & Geiger 2021, section 4.2."""
    return torch.stack(list(logits.values())).mean(0)


def real_loss(logits: Logits, labels: Labels, *, num: int) -> Scalar:
    """Cross entropy in nats of the averaged logits, summed and divided by the `num` images that the whole batch has, of which
    these may be some.
    """
    return F.cross_entropy(averaged(logits), labels, reduction="sum") / num


def factor_losses(logits: Logits, classes: Int[Tensor, "batch 3"], *, nums: Mapping[str, int]) -> dict[str, Scalar]:
    """Cross entropy in nats of every head on the factor that it is called after, summed and divided by the images of the whole batch
    whose class of this factor is known; 0 where there is none.
    """
    return {
        name: F.cross_entropy(logits[name], classes[:, place], ignore_index=NO_LABEL, reduction="sum")
        / max(1, nums[name])
        for place, name in enumerate(FACTORS)
    }


def num_known(classes: Int[Tensor, "batch 3"]) -> dict[str, int]:
    """Of how many images the class of each factor is known."""
    return dict(zip(FACTORS, (classes != NO_LABEL).sum(0).tolist(), strict=True))
