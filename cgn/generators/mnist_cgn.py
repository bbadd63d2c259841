"""The CGN for MNIST: three mechanisms, composed, and the `fast` recipe that trains them."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cgn.config import FastCgnConfig
from cgn.contracts import Factors, Images, Labels, Pixels
from cgn.generators.base import Cgn, GeneratorTraining, Layers, Noise, Run
from cgn.losses.adversarial import discriminator_hinge, generator_hinge
from cgn.losses.mask import binary_entropy, border_mean, similarity
from cgn.mnist import IMAGE_PX
from cgn.models.discriminators import ProjectionDiscriminator
from cgn.models.mechanisms import ShapeMechanism, TextureMechanism


class MnistCgn(Cgn):
    """Shape, texture and background mechanisms, each with a label and noise of its own."""

    def __init__(self, config: FastCgnConfig) -> None:
        super().__init__()
        self.latent = config.latent
        self.shape = ShapeMechanism(latent=config.latent, width=config.shape_width)
        self.texture = TextureMechanism(latent=config.latent, width=config.texture_width)
        self.background = TextureMechanism(latent=config.latent, width=config.texture_width)

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """Mask, foreground and background of every image. With three equal labels: what the training set shows."""
        return Layers(
            self.shape(noise.shape, factors.shape),
            self.texture(noise.texture, factors.texture, noise.texture_shift),
            self.background(noise.background, factors.background, noise.background_shift),
        )

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Standard normal noise and uniform shifts for a batch."""
        sizes = (self.latent, TextureMechanism.noise_size(self.latent), TextureMechanism.noise_size(self.latent))
        normals = (torch.randn(batch, size, generator=rng) for size in sizes)
        shifts = torch.randint(0, IMAGE_PX, (2, batch, 2), generator=rng).unbind()
        return Noise(*normals, *shifts)


class FastCgnTraining(GeneratorTraining):
    """Adversarial training on composites against a projection discriminator, from scratch, with an averaged generator.

    # Differs from the paper: hinge losses and one projection discriminator in place of LSGAN; no perceptual loss; a
    # border term, since the object lies inside the frame; a term against masks of one class that look alike, without
    # which shapes lose their variety; in long runs the learning rate falls to zero; the weights that count are an
    # exponential average.
    """

    config: FastCgnConfig
    _stateful = ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")

    def __init__(self, config: FastCgnConfig, pixels: Pixels, labels: Labels, run: Run) -> None:
        num_steps = -(-run.num_images // config.batch_size)
        super().__init__(config, pixels, labels, run, name="mnist_cgn", num_steps=num_steps)
        self.autocast = run.precision == "bfloat16"
        self.generator = self._new("generator", lambda: MnistCgn(config))
        self.discriminator = self._new(
            "discriminator", lambda: ProjectionDiscriminator(channels=3, width=config.discriminator_width)
        )
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        textures = [*self.generator.texture.parameters(), *self.generator.background.parameters()]
        self.generator_optimizer = _adam([(self.generator.shape.parameters(), config.shape_lr), (textures, config.lr)])
        self.discriminator_optimizer = _adam([(self.discriminator.parameters(), config.lr)])

    @property
    def shown(self) -> MnistCgn:
        """The averaged generator."""
        return cast("MnistCgn", self.average.module)

    def _next_rows(self) -> Tensor:
        return torch.randint(0, len(self.labels), (self.config.batch_size,), generator=self.rng)

    def _schedule(self) -> float:
        """The learning rates' factor: 1 for `lr_constant_images`, then falling linearly to zero at the run's end."""
        constant = self.config.lr_constant_images / self.config.batch_size
        return min(1.0, (self.num_steps - self.step) / max(1.0, self.num_steps - constant))

    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        size = len(labels)
        for group in (*self.generator_optimizer.param_groups, *self.discriminator_optimizer.param_groups):
            group["lr"] = group["initial_lr"] * self._schedule()
        self.generator.train()
        factors = Factors(labels, labels, labels)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            layers = self.generator(self.generator.draw_training_noise(size, self.rng), factors)
            fake = layers.composite.contiguous(memory_format=torch.channels_last)
            both = torch.cat([images.contiguous(memory_format=torch.channels_last), fake.detach()])
            scores = self.discriminator(both, labels.repeat(2))
        discriminator_loss = discriminator_hinge(scores[:size], scores[size:])
        self.discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        self.discriminator_optimizer.step()

        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            adversarial = generator_hinge(self.discriminator(fake, labels))
        losses = {
            "adversarial": adversarial,
            "binary": binary_entropy(layers.mask),
            "border": border_mean(layers.mask),
            "similarity": similarity(layers.mask, labels, distance=self.config.mask_distance),
        }
        weights = {
            "binary": self.config.lambda_binary,
            "border": self.config.lambda_border,
            "similarity": self.config.lambda_similarity,
        }
        total = torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        self.generator_optimizer.zero_grad()
        total.backward()
        self.generator_optimizer.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(True)
        self.average.update_parameters(self.generator)
        return {"discriminator": discriminator_loss, **losses}


def _adam(groups: Iterable[tuple[Iterable[nn.Parameter], float]]) -> torch.optim.Adam:
    """Adam for parameters with a learning rate each, which it keeps as `initial_lr`."""
    rates = [{"params": list(parameters), "lr": lr, "initial_lr": lr} for parameters, lr in groups]
    return torch.optim.Adam(rates, betas=(0.0, 0.99), fused=True)
