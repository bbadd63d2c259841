"""The networks of a variational autoencoder for 32 px images."""

import torch
from torch import Tensor, nn

from cgn.contracts import Images
from cgn.models.mechanisms import upsampler


class Encoder(nn.Sequential):
    """Images in [-1, 1] to the mean and the logarithm of the variance of their codes, (batch, 2 * latent)."""

    def __init__(self, *, latent: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(4 * width * 16, 2 * latent),
        )


class Decoder(nn.Module):
    """Codes (batch, latent) to images."""

    def __init__(self, *, latent: int, width: int) -> None:
        super().__init__()
        self.net = upsampler(latent, width, 3)

    def logits(self, codes: Tensor) -> Tensor:
        """The images before they are squeezed into their range."""
        maps: Tensor = self.net(codes)
        return maps.float()

    def forward(self, codes: Tensor) -> Images:
        """Images in [-1, 1]."""
        return 2 * torch.sigmoid(self.logits(codes)) - 1
