"""Adversarial training against a projection discriminator, shared by our own recipes."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cgn.config import FastCgnConfig, GanConfig
from cgn.contracts import Factors, Images, Labels, Pixels
from cgn.generators.base import Generator, GeneratorTraining, Layers, Run, lr_factor
from cgn.losses.adversarial import discriminator_hinge, generator_hinge
from cgn.models.discriminators import ProjectionDiscriminator

_Config = TypeVar("_Config", FastCgnConfig, GanConfig)


class AdversarialTraining(GeneratorTraining, Generic[_Config]):
    """One step of the discriminator, one of the generator, hinge losses, and an exponential average of the weights.

    In long runs the learning rates fall to zero.
    """

    config: _Config
    _stateful = ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")

    def __init__(
        self, config: _Config, pixels: Pixels, labels: Labels, run: Run, *, name: str, network: Callable[[], Generator]
    ) -> None:
        num_steps = -(-run.num_images // config.batch_size)
        super().__init__(config, pixels, labels, run, name=name, num_steps=num_steps)
        self.autocast = run.precision == "bfloat16"
        self.generator = self._new("generator", network)
        self.discriminator = self._new(
            "discriminator", lambda: ProjectionDiscriminator(channels=3, width=config.discriminator_width)
        )
        for module in (self.generator, self.discriminator):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        self.generator_optimizer = _adam(self._generator_groups())
        self.discriminator_optimizer = _adam([(self.discriminator.parameters(), config.lr)])

    @abstractmethod
    def _generator_groups(self) -> Iterable[tuple[Iterable[nn.Parameter], float]]:
        """The generator's parameters, with a learning rate each."""

    @abstractmethod
    def _further_losses(self, layers: Layers, images: Images, labels: Labels) -> Mapping[str, tuple[float, Tensor]]:
        """What the generator lowers beside the adversarial loss: name to weight and loss; `images` are real ones of
        the same classes, in the same order.
        """

    def _draw_layers(self, images: Images, labels: Labels) -> Layers:  # noqa: ARG002
        """What the discriminator is to take for real; `images` are real ones of the same classes, in the same order."""
        noise = self.generator.draw_training_noise(len(labels), self.rng)
        layers: Layers = self.generator(noise, Factors(labels, labels, labels))
        return layers

    @property
    def shown(self) -> Generator:
        """The averaged generator."""
        return cast("Generator", self.average.module)

    def _next_rows(self) -> Tensor:
        return torch.randint(0, len(self.labels), (self.config.batch_size,), generator=self.rng)

    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        size = len(labels)
        constant_steps = self.config.lr_constant_images / self.config.batch_size
        factor = lr_factor(self.step, self.num_steps, constant_steps=constant_steps)
        for group in (*self.generator_optimizer.param_groups, *self.discriminator_optimizer.param_groups):
            group["lr"] = group["initial_lr"] * factor
        self.generator.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            layers = self._draw_layers(images, labels)
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
        weighted = {"adversarial": (1.0, adversarial), **self._further_losses(layers, images, labels)}
        total = torch.stack([weight * loss for weight, loss in weighted.values()]).sum()
        self.generator_optimizer.zero_grad()
        total.backward()
        self.generator_optimizer.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(True)
        self.average.update_parameters(self.generator)
        return {"discriminator": discriminator_loss, **{name: loss for name, (_, loss) in weighted.items()}}


def _adam(groups: Iterable[tuple[Iterable[nn.Parameter], float]]) -> torch.optim.Adam:
    """Adam for parameters with a learning rate each, which it keeps as `initial_lr`."""
    rates: list[dict[str, Any]] = [
        {"params": list(parameters), "lr": lr, "initial_lr": lr} for parameters, lr in groups
    ]
    return torch.optim.Adam(rates, betas=(0.0, 0.99), fused=True)
