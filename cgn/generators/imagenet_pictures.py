"""Pictures of a trained ImageNet CGN: layers, interpolations, walks, the transformation of the paper's teaser, failures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from PIL import Image

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.composer import to_pixels
from cgn.config import ImagenetPictures, Precision
from cgn.contracts import Images, Masks, Pixels
from cgn.generators.captioned import captioned_grid, captioned_strip, to_image
from cgn.generators.imagenet_cgn import MECHANISMS, ImagenetCgn, ImagenetLayers, PerMechanism
from cgn.generators.imagenet_paths import closed, linear, spherical
from cgn.generators.imagenet_sheets import FAILURE_CLASSES, SHEET_CLASSES, layer_pixels
from cgn.rng import stream


class Worn(NamedTuple):
    """The layers that a composite shows, in the order of their mechanisms."""

    mask: Masks
    foreground: Images
    background: Images


class Transformation(NamedTuple):
    """An image whose texture, background and shape become those of other classes, one after another."""

    strip: Image.Image
    frames: Pixels  # the same as a film, which also goes back to the start


@dataclass(frozen=True)
class Illustrator:
    """Draws what params.yaml asks for. A picture is a function of this and of its own classes: none depends on the others."""

    cgn: ImagenetCgn  # set to the truncation of `config`
    config: ImagenetPictures
    precision: Precision
    seed: int

    def __post_init__(self) -> None:
        self.cgn.truncation = self.config.truncation
        self.cgn.eval()

    def layers(self, classes: Sequence[int]) -> dict[str, Image.Image]:
        """Every layer of one counterfactual, and the composite, by name; one noise for all mechanisms, as in training."""
        noise = self._draw(1, "layers", *classes)
        found = layer_pixels(self._pass(noise, self._vectors([classes])))
        return {name: to_image(pixels[0]) for name, pixels in found.items()}

    def interpolation(self, start: int, end: int) -> Image.Image:
        """From one class to another in shape, texture and background alone and in all, a row each.

        Class vectors go straight. Noise, which is one for all mechanisms, stays, or goes from one draw to another (`noise_moves`).
        """
        chosen = self.config.interpolations
        shares = torch.linspace(0, 1, chosen.columns)
        first, last = self._draw(2, "interpolation", start, end).shape
        noise = spherical(first, last if chosen.noise_moves else first, shares)
        ends = self._vectors([[start] * 3, [end] * 3])
        classes = PerMechanism(*(linear(part[0], part[1], shares) for part in ends))
        layers = self._pass(PerMechanism(noise, noise, noise), classes)
        rows = [(name, to_pixels(self._composed(with_moving(layers, name)))) for name in MECHANISMS]
        rows.append(("all", to_pixels(layers.composite)))
        between = [f"{share:.0%}" for share in shares[1:-1].tolist()]
        return captioned_grid(rows, [class_name(start), *between, class_name(end)])

    def walks(self, classes: Sequence[int]) -> dict[str, Pixels]:
        """Frames of a closed walk through noise per mechanism; the other two stay at its first draw."""
        chosen = self.config.films
        stops = self._draw(chosen.stops, "walk", *classes)
        noise = PerMechanism(*(closed(part, chosen.frames, spherical) for part in stops))
        layers = self._pass(noise, self._vectors([classes] * len(noise.shape)))
        return {name: to_pixels(self._composed(with_moving(layers, name))) for name in MECHANISMS}

    def transformation(self, classes: Sequence[int]) -> Transformation:
        """An image of the first class, then with the texture of the second, the background of the third, the shape of the fourth.

        One noise throughout. The film goes straight from class vector to class vector, and back to the first image in all three.
        Source: Sauer & Geiger 2021, figure 1, in the order in which the authors' code makes it.
        """
        first, texture, background, shape = classes
        steps = [
            (first, first, first),
            (first, texture, first),
            (first, texture, background),
            (shape, texture, background),
        ]
        noise = self._draw(1, "transformation", *classes)
        way = partial(closed, steps=self.config.films.frames, way=linear)
        vectors = PerMechanism(*(way(part) for part in self._vectors(steps)))
        film = self._pass(PerMechanism(*(part.expand(len(vectors.shape), -1) for part in noise)), vectors)
        frames = to_pixels(film.composite)
        captions = [
            class_name(first),
            f"texture of {class_name(texture)}",
            f"background of {class_name(background)}",
            f"shape of {class_name(shape)}",
        ]
        return Transformation(captioned_strip(frames[:: self.config.films.frames], captions), frames)

    def failures(self) -> list[Image.Image]:
        """All layers side by side of the classes that are known to fail, a row per class; a sheet per draw of noise.

        Source: Sauer & Geiger 2021, appendix F; the classes are those that Bagad et al. 2022 name.
        """
        draws = self._draw(self.config.failures, "failures")
        classes = self._vectors([[label] * 3 for label in FAILURE_CLASSES.values()])
        sheets = []
        for draw in draws.shape.split(1):
            noise = draw.expand(len(FAILURE_CLASSES), -1)
            pixels = layer_pixels(self._pass(PerMechanism(noise, noise, noise), classes))
            rows = zip(FAILURE_CLASSES, torch.stack(list(pixels.values()), 1), strict=True)
            sheets.append(captioned_grid(list(rows), list(pixels)))
        return sheets

    def _draw(self, num: int, kind: str, *classes: int) -> PerMechanism:
        """Noise, one per image for all mechanisms."""
        return self.cgn.draw_noise(num, stream(self.seed, "imagenet_pictures", kind, *classes), shared=True)

    def _vectors(self, classes: Sequence[Sequence[int]]) -> PerMechanism:
        """The class vectors of so many images, each with a class for shape, texture and background."""
        labels = torch.tensor(classes, device=self._device).unbind(1)
        embedded = (self.cgn.mechanism(name).embed(part) for name, part in zip(MECHANISMS, labels, strict=True))
        return PerMechanism(*(part.detach().cpu() for part in embedded))

    @torch.no_grad()
    def _pass(self, noise: PerMechanism, classes: PerMechanism) -> ImagenetLayers:
        """Layers in float32 on the CPU, made so many images at a time as `micro_batch` says."""
        made = []
        for start in range(0, len(noise.shape), self.config.micro_batch):
            some = slice(start, start + self.config.micro_batch)
            inputs = (PerMechanism(*(part[some].to(self._device) for part in parts)) for parts in (noise, classes))
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                layers = self.cgn.of_vectors(*inputs)
            made.append([layer.float().cpu() for layer in layers])
        return ImagenetLayers(*(torch.cat(parts) for parts in zip(*made, strict=True)))

    @torch.no_grad()
    def _composed(self, worn: Worn) -> Images:
        """Composites of layers, likewise."""
        made = []
        for start in range(0, len(worn.mask), self.config.micro_batch):
            some = slice(start, start + self.config.micro_batch)
            made.append(self.cgn.composed(*(part[some].to(self._device) for part in worn)).cpu())
        return torch.cat(made)

    @property
    def _device(self) -> torch.device:
        return next(self.cgn.parameters()).device


def with_moving(layers: ImagenetLayers, mechanism: str) -> Worn:
    """What composites wear where all other mechanisms' layers stay as they are in the first image."""
    return Worn(
        *(
            getattr(layers, name) if of == mechanism else getattr(layers, name)[:1].expand_as(getattr(layers, name))
            for of, name in zip(MECHANISMS, Worn._fields, strict=True)
        )
    )


def class_name(label: int) -> str:
    """What an ImageNet class is called, by its number from 0 to 999."""
    from torchvision.models import VGG16_Weights  # noqa: PLC0415  (must come after what makes it importable)

    ours = {number: name for name, number in (SHEET_CLASSES | FAILURE_CLASSES).items()}
    names: list[str] = VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    return ours.get(label, names[label])
