"""The `authors_code` recipe: the CGN for MNIST, trained as its authors' code does."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from cgn.config import AuthorsCgnConfig
from cgn.contracts import Factors, Images, Labels, Pixels
from cgn.generators.base import Generator, GeneratorTraining, Layers, Noise, Run
from cgn.losses.adversarial import discriminator_least_squares, generator_least_squares
from cgn.losses.mask import binary_entropy
from cgn.losses.perceptual import num_weighted_stages, perceptual_distance
from cgn.mnist import NUM_CLASSES
from cgn.models.authors import (
    DISCRIMINATORS,
    NUM_CROPS,
    AuthorsShape,
    AuthorsTexture,
    initialise,
    tile_and_crop,
)
from cgn.models.vgg import VggFeatures
from cgn.rng import stream


class AuthorsCgn(Generator):
    """The authors' three mechanisms; one class embedding serves them all.

    Source: Sauer & Geiger 2021, appendix C.4, and their repository counterfactual_generative_networks.
    """

    def __init__(self, config: AuthorsCgnConfig) -> None:
        super().__init__()
        self.latent = config.latent
        sizes = {"inputs": config.latent + NUM_CLASSES, "width": config.width}
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        self.shape = AuthorsShape(**sizes)
        self.texture = AuthorsTexture(**sizes)
        self.background = AuthorsTexture(**sizes)

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """Mask, foreground and background of every image."""
        shape, texture, background = (
            torch.cat([part, self.embed(labels)], dim=1) for part, labels in zip(noise[:3], factors, strict=True)
        )
        return Layers(
            self.shape(shape),
            tile_and_crop(self.texture(texture), noise.texture_shift),
            tile_and_crop(self.background(background), noise.background_shift),
        )

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Standard normal noise, and corners of the crops."""
        normals = torch.randn(3, batch, self.latent, generator=rng).unbind()
        corners = torch.randint(0, NUM_CROPS, (2, batch, 2), generator=rng).unbind()
        return Noise(*normals, *corners)

    def draw_training_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """One noise for all three mechanisms; the corners still differ."""
        noise = self.draw_noise(batch, rng)
        return noise._replace(texture=noise.shape, background=noise.shape)


class AuthorsCgnTraining(GeneratorTraining):
    """Least squares against a class-conditional discriminator, binary entropy, and the style of VGG16's features.

    Arithmetic is float32 whatever `compute.precision` says, and the weights that count are the last ones. Training ends
    after the recipe's epochs, or earlier where the scale's budget of images is used up.
    The style loss compares each generated image with a real one of another class: so the authors' code does.
    Source: Sauer & Geiger 2021, section 3.2 and appendix C.4, and their repository counterfactual_generative_networks.
    """

    config: AuthorsCgnConfig
    _stateful = ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer")

    def __init__(self, config: AuthorsCgnConfig, pixels: Pixels, labels: Labels, run: Run, *, vgg: VggFeatures) -> None:
        self.steps_per_epoch = -(-len(labels) // config.batch_size)
        num_steps = min(config.epochs * self.steps_per_epoch, -(-run.num_images // config.batch_size))
        super().__init__(config, pixels, labels, run, name="authors_cgn", num_steps=num_steps)
        self.vgg = vgg
        self.settings = getattr(config.datasets, run.dataset)
        self.order = torch.empty(0, dtype=torch.int64)  # of the images in `order_epoch`
        self.order_epoch = -1
        self.generator = self._new("generator", self._new_generator)
        self.discriminator = self._new(
            "discriminator", lambda: DISCRIMINATORS[self.settings.discriminator](self.settings.discriminator_width)
        )
        self.style = [config.style_scale * weight**2 for weight in self.settings.style_weights]
        self.num_stages = num_weighted_stages([0.0] * len(self.style), self.style)
        options: dict[str, Any] = {"lr": config.lr, "betas": tuple(config.betas)}
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **options)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), **options)

    def _new_generator(self) -> AuthorsCgn:
        generator = AuthorsCgn(self.config)
        initialise(generator, self.settings.init, self.settings.init_gain)
        return generator

    @property
    def shown(self) -> AuthorsCgn:
        """The generator itself: the authors do not average."""
        return self.generator

    def _next_rows(self) -> Tensor:
        epoch, step = divmod(self.step, self.steps_per_epoch)
        if self.order_epoch != epoch:
            self.order_epoch = epoch
            self.order = torch.randperm(len(self.labels), generator=stream(*self.address, "epoch", epoch))
        return self.order[step * self.config.batch_size : (step + 1) * self.config.batch_size]

    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        size = len(labels)
        self.generator.train()
        fake_labels = torch.randint(0, NUM_CLASSES, (size,), generator=self.rng)
        noise = self.generator.draw_training_noise(size, self.rng)
        layers = self.generator(noise, Factors(fake_labels, fake_labels, fake_labels))
        fake = layers.composite
        losses = {
            "adversarial": generator_least_squares(self.discriminator(fake, fake_labels, self.rng)),
            "binary": binary_entropy(layers.mask) / math.log(2),  # the authors count bits
            "style": self._style(fake, images),
        }
        total = losses["adversarial"] + self.settings.lambda_binary * losses["binary"] + losses["style"]
        self.generator_optimizer.zero_grad()
        total.backward()
        self.generator_optimizer.step()

        real_scores = self.discriminator(images, labels, self.rng)
        fake_scores = self.discriminator(fake.detach(), fake_labels, self.rng)
        discriminator_loss = discriminator_least_squares(real_scores, fake_scores)
        self.discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        self.discriminator_optimizer.step()
        return {"discriminator": discriminator_loss, **losses}

    def _style(self, fake: Images, real: Images) -> Tensor:
        """The weighted style distances; features behind the last weighted stage are not computed."""
        if self.num_stages == 0:
            return fake.new_zeros(())
        with torch.no_grad():
            targets = self.vgg(real, self.num_stages)
        found = self.vgg(fake, self.num_stages)
        return perceptual_distance(found, targets, content=[0.0] * self.num_stages, style=self.style[: self.num_stages])
