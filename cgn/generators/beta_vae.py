"""A beta-VAE: what a generator without mechanisms makes of a data set whose colours say its classes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.config import BetaVaeConfig
from cgn.contracts import Factors, Images, Labels, Pixels
from cgn.generators.base import Generator, GeneratorTraining, Layers, Noise, Run, lr_factor
from cgn.mnist import NUM_CLASSES
from cgn.models.vae import Decoder, Encoder

_FARTHEST = 2.0  # standard deviations of the code
_MEMORY = 0.98  # of the classes' codes, per step


class BetaVae(Generator):
    """One code for the whole image. A class is where its training images' codes lie: a normal distribution each.

    Source: Higgins et al. 2017; Sauer & Geiger 2021, appendix A.1, show such a code of colored MNIST. The classes' normal
    distributions are ours, so that it can be asked for images of a class.
    """

    has_mechanisms = False
    class_means: Tensor
    class_variances: Tensor

    def __init__(self, config: BetaVaeConfig) -> None:
        super().__init__()
        self.latent = config.latent
        self.encoder = Encoder(latent=config.latent, width=config.width)
        self.decoder = Decoder(latent=config.latent, width=config.width)
        self.register_buffer("class_means", torch.zeros(NUM_CLASSES, config.latent))
        self.register_buffer("class_variances", torch.ones(NUM_CLASSES, config.latent))

    def encode(self, images: Images) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the codes of images; both (batch, latent)."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance

    def remember(self, labels: Labels, mean: Tensor, log_variance: Tensor) -> None:
        """Move the classes' normal distributions towards those of a batch's codes."""
        for label in labels.unique().tolist():
            codes, own = mean[labels == label], log_variance[labels == label].exp()
            self.class_means[label].lerp_(codes.mean(0), 1 - _MEMORY)
            spread = ((codes - self.class_means[label]) ** 2 + own).mean(0)
            self.class_variances[label].lerp_(spread, 1 - _MEMORY)

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """The image as a foreground that covers everything; its class is the shape's."""
        codes = self.class_means[factors.shape] + self.class_variances[factors.shape].sqrt() * noise.shape
        image = self.decoder(codes)
        return Layers(torch.ones_like(image[:, :1]), image, torch.zeros_like(image))

    def factor_grid(self, rng: torch.Generator) -> Images:  # noqa: ARG002
        """A walk through the code: its first number grows from left to right, its second from top to bottom."""
        walk = torch.linspace(-_FARTHEST, _FARTHEST, NUM_CLASSES)
        codes = torch.zeros(NUM_CLASSES**2, self.latent)
        codes[:, : min(2, self.latent)] = torch.cartesian_prod(walk, walk).flip(1)[:, : self.latent]
        images: Images = self.decoder(codes)
        return images

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Standard normal noise; the mechanisms that are not there have none."""
        none, still = torch.zeros(batch, 0), torch.zeros(batch, 2, dtype=torch.int64)
        return Noise(torch.randn(batch, self.latent, generator=rng), none, none, still, still)


class BetaVaeTraining(GeneratorTraining):
    """Reconstruction and a weighted distance of the codes from a standard normal distribution."""

    config: BetaVaeConfig
    _stateful = ("generator", "optimizer")

    def __init__(self, config: BetaVaeConfig, pixels: Pixels, labels: Labels, run: Run) -> None:
        num_steps = -(-run.num_images // config.batch_size)
        super().__init__(config, pixels, labels, run, name="beta_vae", num_steps=num_steps)
        self.autocast = run.precision == "bfloat16"
        self.generator = self._new("generator", lambda: BetaVae(config))
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.lr, fused=True)

    @property
    def shown(self) -> BetaVae:
        """The generator."""
        return self.generator

    def _next_rows(self) -> Tensor:
        return torch.randint(0, len(self.labels), (self.config.batch_size,), generator=self.rng)

    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        constant_steps = self.config.lr_constant_images / self.config.batch_size
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * lr_factor(self.step, self.num_steps, constant_steps=constant_steps)
        self.generator.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            mean, log_variance = self.generator.encode(images.contiguous(memory_format=torch.channels_last))
            codes = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=self.rng)
            logits = self.generator.decoder.logits(codes)
        size = len(labels)
        reconstruction = F.binary_cross_entropy_with_logits(logits, (images + 1) / 2, reduction="sum") / size
        divergence = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum() / size
        self.optimizer.zero_grad()
        (reconstruction + self.config.beta * divergence).backward()
        self.optimizer.step()
        self.generator.remember(labels, mean.detach(), log_variance.detach())
        return {"reconstruction": reconstruction, "divergence": divergence}
