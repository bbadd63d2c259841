"""A shallow network after the composer, which may mend what layers leave where they meet."""

import torch
from torch import nn

from cgn.contracts import Images


class Refiner(nn.Module):
    """Three 3x3 convolutions whose result is added to an image; to begin with it is nothing.

    Source: Sauer & Geiger 2021, appendix F, which proposes a shallow refinement network and does not say which.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, images: Images) -> Images:
        """Images, not held to [-1, 1]: pixels are clipped when they are written."""
        change: Images = self.leave(torch.relu(self.middle(torch.relu(self.enter(images)))))
        return images + change
