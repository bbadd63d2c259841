"""The CGN for MNIST: three mechanisms, composed, and the `fast` recipe that trains them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cgn.composer import to_images
from cgn.config import FastCgnConfig
from cgn.contracts import NUM_CLASSES, Factors, Images, Labels, Pixels
from cgn.generators.base import Cgn, Layers, Noise, finite_numbers
from cgn.generators.collapse import MaskStatistics, mask_statistics
from cgn.losses.adversarial import discriminator_hinge, generator_hinge
from cgn.losses.mask import binary_entropy, border_mean, similarity
from cgn.models.discriminators import ProjectionDiscriminator
from cgn.models.mechanisms import IMAGE_PX, ShapeMechanism, TextureMechanism
from cgn.rng import stream
from cgn.training import Record, seeded

_LOG_EVERY_STEPS = 50
_STATISTICS_PER_CLASS = 20


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


class FastCgnTraining:
    """Adversarial training on composites against a projection discriminator, from scratch, with an averaged generator.

    # Differs from the paper: hinge losses and one projection discriminator in place of LSGAN; no perceptual loss; a
    # border term, since the object lies inside the frame; a term against masks of one class that look alike, without
    # which shapes lose their variety; the weights that count are an exponential average.
    """

    def __init__(
        self,
        config: FastCgnConfig,
        pixels: Pixels,
        labels: Labels,
        *,
        num_images: int,
        precision: str,
        seed: int,
        attempt: int,
    ) -> None:
        self.config, self.pixels, self.labels = config, pixels, labels
        self.autocast = precision == "bfloat16"
        self.num_steps = -(-num_images // config.batch_size)
        self.step = 0
        address = (seed, "mnist_cgn", "attempt", attempt)
        self.rng = stream(*address, "steps")
        self.generator = seeded(stream(*address, "generator").initial_seed(), lambda: MnistCgn(config))
        self.discriminator = seeded(
            stream(*address, "discriminator").initial_seed(),
            lambda: ProjectionDiscriminator(channels=3, width=config.discriminator_width),
        )
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        options: dict[str, Any] = {"lr": config.lr, "betas": (0.0, 0.99), "fused": True}
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **options)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), **options)
        # Fixed for sheets and statistics: all classes in turn.
        fixed = stream(*address, "fixed")
        self.fixed_labels = torch.arange(NUM_CLASSES).repeat(_STATISTICS_PER_CLASS)
        self.fixed_noise = self.generator.draw_noise(len(self.fixed_labels), fixed)

    def records(self) -> Iterator[Record]:
        """Train on, yielding step, images_seen, losses and the mask's statistics."""
        size = self.config.batch_size
        self.generator.train()
        while self.step < self.num_steps:
            rows = torch.randint(0, len(self.labels), (size,), generator=self.rng)
            losses = self._train_step(to_images(self.pixels[rows]), self.labels[rows])
            self.step += 1
            every = min(_LOG_EVERY_STEPS, self.config.sheet_every_steps)
            if self.step % every == 0 or self.step == self.num_steps:
                numbers = finite_numbers(losses, step=self.step)
                yield {"step": self.step, "images_seen": self.step * size, **numbers, **self.statistics()._asdict()}

    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        size = len(labels)
        factors = Factors(labels, labels, labels)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            layers = self.generator(self.generator.draw_noise(size, self.rng), factors)
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

    @torch.inference_mode()
    def fixed_layers(self) -> Layers:
        """What the averaged generator makes of the fixed noise, classes 0 to 9 in turn."""
        self.average.eval()
        return Layers(*self.average(self.fixed_noise, Factors(*[self.fixed_labels] * 3)))

    def statistics(self) -> MaskStatistics:
        """The mask's statistics over the fixed noise."""
        return mask_statistics(self.fixed_layers().mask, self.fixed_labels)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "step": self.step,
            "rng": self.rng.get_state(),
            **{name: getattr(self, name).state_dict() for name in self._stateful},
        }

    _stateful = ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier state."""
        self.step = state["step"]
        self.rng.set_state(state["rng"])
        for name in self._stateful:
            getattr(self, name).load_state_dict(state[name])

    def weights(self) -> dict[str, Tensor]:
        """The averaged generator's weights."""
        weights: dict[str, Tensor] = self.average.module.state_dict()
        return weights
