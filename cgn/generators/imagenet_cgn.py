"""The CGN for natural images: three copies of a trained conditional generator, made to draw a shape, a texture, a background."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cgn.composer import compose
from cgn.contracts import Factors, Images, Labels, Masks
from cgn.models.biggan import truncated_noise

Vectors = Float[Tensor, "batch _"]
_MARGIN = 1e-4  # of masks from 0 and 1, where the entropy has no gradient; as the CGN's authors choose it
MECHANISMS = ("shape", "texture", "background")
REFINER = "refiner"


class ConditionalGenerator(Protocol):
    """What a teacher is and what mechanisms are made of; `cgn.models.biggan.BigGan` is one."""

    noise_dim: int
    num_classes: int
    recompute: bool  # activations in the backward pass

    def __call__(self, noise: Vectors, classes: Vectors, truncation: float) -> Images:
        """Images in [-1, 1] of noise and class vectors."""
        ...

    def embed(self, labels: Labels) -> Vectors:
        """The vectors of classes."""
        ...

    def refresh(self, *, iterate: bool = False) -> None:
        """Prepare passes with the weights as they are now."""
        ...

    def pull_back(self) -> None:
        """Bring the gradients of all passes since `refresh` to the parameters."""
        ...


class PerMechanism(NamedTuple):
    """A vector per image for every mechanism, its noise or its class: (batch, noise_dim) each."""

    shape: Vectors
    texture: Vectors
    background: Vectors


class ImagenetLayers(NamedTuple):
    """What the mechanisms make, and the image that it adds up to; the mask lies within (0, 1)."""

    premask: Images
    mask: Masks
    foreground: Images
    background: Images
    composite: Images


class ImagenetCgn(nn.Module):
    """Shape, texture and background mechanisms, and the frozen saliency network that turns premasks into masks.

    Source: Sauer & Geiger 2021, section 3.2, figure 2.
    """

    def __init__(
        self,
        mechanisms: dict[str, nn.Module],
        saliency: nn.Module,
        *,
        truncation: float,
        refiner: nn.Module | None = None,
    ) -> None:
        """`mechanisms` holds a `ConditionalGenerator` for each name in MECHANISMS; `truncation` is that of all draws. A `refiner`
        changes composites.
        """
        super().__init__()
        refiners = {} if refiner is None else {REFINER: refiner}
        self.trained = nn.ModuleDict({**{name: mechanisms[name] for name in MECHANISMS}, **refiners})
        self.saliency = saliency.eval().requires_grad_(False)
        self.truncation = truncation

    def train(self, mode: bool = True) -> "ImagenetCgn":
        """As of any module, but the saliency network stays as it is used."""
        super().train(mode)
        self.saliency.eval()
        return self

    def mechanism(self, name: str) -> Any:
        """The `ConditionalGenerator` of a name in MECHANISMS."""
        return self.trained[name]

    def refresh(self, *, iterate: bool = False) -> None:
        """Prepare passes with the weights as they are now; see `BigGan.refresh`."""
        for name in MECHANISMS:
            self.mechanism(name).refresh(iterate=iterate)

    def pull_back(self) -> None:
        """Bring the gradients of all passes since `refresh` to the parameters."""
        for name in MECHANISMS:
            self.mechanism(name).pull_back()

    def forward(self, noise: PerMechanism, labels: Factors) -> ImagenetLayers:
        """The layers of every image, of given noise and classes. With three equal noises and classes: a training image."""
        vectors = [self.mechanism(name).embed(part) for name, part in zip(MECHANISMS, labels, strict=True)]
        return self.of_vectors(noise, PerMechanism(*vectors))

    def of_vectors(self, noise: PerMechanism, classes: PerMechanism) -> ImagenetLayers:
        """The same of class vectors (batch, noise_dim) per mechanism, which may lie between classes."""
        premask, foreground, background = (
            self.mechanism(name)(part, vectors, self.truncation)
            for name, part, vectors in zip(MECHANISMS, noise, classes, strict=True)
        )
        mask = self.saliency(premask).float().clamp(_MARGIN, 1 - _MARGIN)
        return ImagenetLayers(premask, mask, foreground, background, self.composed(mask, foreground, background))

    def composed(self, mask: Masks, foreground: Images, background: Images) -> Images:
        """The image of given layers, refined where the CGN has a refiner."""
        composite = compose(mask, foreground, background)
        if REFINER in self.trained:
            composite = self.trained[REFINER](composite)
        return composite

    def draw_training_inputs(self, batch: int, rng: torch.Generator) -> tuple[PerMechanism, Factors]:
        """Inputs of training: per image one noise and one class, drawn uniformly, for all three mechanisms."""
        noise = self.draw_noise(batch, rng, shared=True)
        labels = torch.randint(self.mechanism("shape").num_classes, (batch,), generator=rng)
        return noise, Factors(labels, labels, labels)

    def draw_noise(self, batch: int, rng: torch.Generator, *, shared: bool) -> PerMechanism:
        """Noise of counterfactuals: one per image for all mechanisms (`shared`), as its authors do, or one per mechanism."""
        dims = [self.mechanism(name).noise_dim for name in MECHANISMS]
        if shared:
            noise = truncated_noise(batch, self.truncation, rng, noise_dim=dims[0])
            return PerMechanism(noise, noise, noise)
        return PerMechanism(*(truncated_noise(batch, self.truncation, rng, noise_dim=dim) for dim in dims))


def micro_batches(
    noise: PerMechanism, labels: Factors, size: int, device: torch.device
) -> Iterator[tuple[PerMechanism, Factors]]:
    """Inputs of `ImagenetCgn`, so many images at a time, on a device."""
    for start in range(0, len(labels.shape), size):
        parts = rows_of(noise, labels, slice(start, start + size))
        yield PerMechanism(*(part.to(device) for part in parts[0])), Factors(*(part.to(device) for part in parts[1]))


def rows_of(noise: PerMechanism, labels: Factors, rows: slice) -> tuple[PerMechanism, Factors]:
    """The inputs of some images of a batch."""
    return PerMechanism(*(part[rows] for part in noise)), Factors(*(part[rows] for part in labels))
