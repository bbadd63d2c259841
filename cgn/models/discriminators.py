"""Class-conditional discriminators of the CGN for MNIST."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cgn.contracts import Labels
from cgn.mnist import NUM_CLASSES


class ProjectionDiscriminator(nn.Module):
    """A small convolutional critic that scores an image together with its class.

    Source: Miyato & Koyama 2018 (projection), Miyato et al. 2018 (spectral normalisation).
    """

    def __init__(self, *, channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)),
            nn.LeakyReLU(0.2, inplace=True),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2, inplace=True),
            spectral_norm(nn.Conv2d(2 * width, 4 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.score = spectral_norm(nn.Linear(4 * width * 16, 1))
        self.embed = spectral_norm(nn.Embedding(NUM_CLASSES, 4 * width * 16))

    def forward(self, images: Tensor, labels: Labels) -> Tensor:
        """Images (batch, channels, 32, 32) and labels to scores (batch,), higher for real ones."""
        features = self.features(images).flatten(1)
        scores: Tensor = (self.score(features)[:, 0] + (self.embed(labels) * features).sum(1)).float()
        return scores
