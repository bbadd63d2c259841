"""A monolithic conditional GAN: the baseline that the paper adds to the biased images in place of a CGN."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from cgn.config import GanConfig
from cgn.contracts import Factors, Labels, Pixels
from cgn.generators.adversarial import AdversarialTraining
from cgn.generators.base import Generator, Layers, Noise, Run
from cgn.models.mechanisms import WholeImage


class Gan(Generator):
    """One network for the whole image, and so one label: it can only repeat what the training set shows.

    Source: Sauer & Geiger 2021, Table 2, Original + GAN; they do not say which GAN. This one has the CGN's upsampling
    network, its discriminator and about as many weights.
    """

    has_mechanisms = False

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        self.latent = config.latent
        self.image = WholeImage(latent=config.latent, width=config.width)

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """The image as a foreground that covers everything; its class is the shape's."""
        image = self.image(noise.shape, factors.shape)
        return Layers(torch.ones_like(image[:, :1]), image, torch.zeros_like(image))

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Standard normal noise; the mechanisms that are not there have none."""
        none, still = torch.zeros(batch, 0), torch.zeros(batch, 2, dtype=torch.int64)
        return Noise(torch.randn(batch, self.latent, generator=rng), none, none, still, still)


class GanTraining(AdversarialTraining[GanConfig]):
    """The adversarial loss alone."""

    def __init__(self, config: GanConfig, pixels: Pixels, labels: Labels, run: Run) -> None:
        super().__init__(config, pixels, labels, run, name="gan", network=lambda: Gan(config))

    def _generator_groups(self) -> Iterable[tuple[Iterable[nn.Parameter], float]]:
        return [(self.generator.parameters(), self.config.lr)]

    def _further_losses(self, *_: object) -> Mapping[str, tuple[float, Tensor]]:
        return {}
