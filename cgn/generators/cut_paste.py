"""A hand-made generator to compare with: objects cut out of training images and pasted together anew."""

import torch
from torch import Tensor

from cgn.composer import to_images, to_pixels
from cgn.config import CutPasteConfig
from cgn.contracts import Factors, Images, Labels, Pixels
from cgn.errors import InputError
from cgn.generators.base import Generator, GeneratorTraining, Layers, Noise, Run
from cgn.generators.segmentation import fill, segment
from cgn.mnist import IMAGE_PX, NUM_CLASSES
from cgn.models.mechanisms import cyclic_shift
from cgn.rng import stream


class CutPaste(Generator):
    """As many training images of each class as its configuration says, as mechanisms: a noise is one of them.

    Masks are those of `segment`; a texture is what an object shows, a background what lies around one, and both are
    filled where the image does not show them.
    """

    objects: Tensor
    foregrounds: Tensor
    backgrounds: Tensor

    def __init__(self, config: CutPasteConfig) -> None:
        super().__init__()
        self.images_per_class = config.images_per_class
        num_images = NUM_CLASSES * config.images_per_class
        self.register_buffer("objects", torch.zeros(num_images, 1, IMAGE_PX, IMAGE_PX, dtype=torch.bool))
        for name in ("foregrounds", "backgrounds"):
            self.register_buffer(name, torch.zeros(num_images, 3, IMAGE_PX, IMAGE_PX, dtype=torch.uint8))

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """Mask, foreground and background of every image, each from a training image of its class."""
        shape, texture, background = (self._rows(part, labels) for part, labels in zip(noise[:3], factors, strict=True))
        return Layers(
            self.objects[shape].float(),
            cyclic_shift(to_images(self.foregrounds[texture]), noise.texture_shift),
            cyclic_shift(to_images(self.backgrounds[background]), noise.background_shift),
        )

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Uniform numbers in [0, 1), one per mechanism, and uniform shifts."""
        chosen = torch.rand(3, batch, 1, generator=rng).unbind()
        return Noise(*chosen, *torch.randint(0, IMAGE_PX, (2, batch, 2), generator=rng).unbind())

    def _rows(self, noise: Tensor, labels: Labels) -> Tensor:
        within = (noise[:, 0] * self.images_per_class).long().clamp(max=self.images_per_class - 1)
        return labels * self.images_per_class + within


class CutPasteTraining(GeneratorTraining):
    """One step: segment the training images and keep some of every class, drawn without replacement while they last."""

    config: CutPasteConfig
    _stateful = ("generator",)

    def __init__(self, config: CutPasteConfig, pixels: Pixels, labels: Labels, run: Run) -> None:
        super().__init__(config, pixels, labels, run, name="cut_paste", num_steps=1)
        self.generator = CutPaste(config)
        self.rows = self._draw_rows()

    @property
    def shown(self) -> CutPaste:
        """The generator."""
        return self.generator

    def _next_rows(self) -> Tensor:
        return self.rows

    def _draw_rows(self) -> Tensor:
        kept = []
        for label in range(NUM_CLASSES):
            rows = (self.labels == label).nonzero()[:, 0]
            if not len(rows):
                raise InputError(f"cut_paste: found no training image of class {label}, expected some of each")
            order = torch.randperm(len(rows), generator=stream(*self.address, "rows", label))
            kept.append(
                rows[order.repeat(-(-self.config.images_per_class // len(rows)))][: self.config.images_per_class]
            )
        return torch.cat(kept)

    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:  # noqa: ARG002
        objects = segment(self.pixels, self.labels)[self.rows]
        self.generator.objects.copy_(objects)
        self.generator.foregrounds.copy_(to_pixels(fill(images, objects)))
        self.generator.backgrounds.copy_(to_pixels(fill(images, ~objects)))
        return {}
