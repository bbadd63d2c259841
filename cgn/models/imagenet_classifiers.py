"""Classifiers of torchvision's, as judges of counterfactuals."""

import logging
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.contracts import Pixels
from cgn.errors import InputError

# isort: split
from torchvision import models

log = logging.getLogger(__name__)

# Their files or their inputs differ from what torchvision's networks of these names take.
_OTHERS = {"googlenet", "inception_v3", "densenet121", "densenet161", "densenet169", "densenet201"}


class ImagenetClassifier(nn.Module):
    """A classifier of torchvision's with the preprocessing that its published weights were trained for."""

    def __init__(self, name: str, weights: str) -> None:
        """`name` is torchvision's of the network, `weights` that of one of its published weights, which are not read here."""
        super().__init__()
        self.network = models.get_model(name, weights=None)
        self.preset = models.get_model_weights(name)[weights].transforms()
        self.eval().requires_grad_(False)

    def forward(self, pixels: Pixels) -> Float[Tensor, "batch 1000"]:
        """Logits over ImageNet's classes, in float32."""
        logits: Tensor = self.network(self.preset(pixels))
        return logits

    @property
    def preprocessing(self) -> str:
        """What is done to images before, in words."""
        preset = self.preset
        sides = f"the shorter side to {preset.resize_size[0]} px ({preset.interpolation.value}, antialiased)"
        return f"{sides}, the middle {preset.crop_size[0]} px, ImageNet's mean and deviation"


def published_as(name: str, location: str | None, *, what: str = "classifier") -> Any:
    """The published weights of torchvision's `name` that a file is called after; its first ones where it is called otherwise.

    Raises: InputError where torchvision has no such classifier.
    """
    if name not in models.list_models(models) or name in _OTHERS:
        raise InputError(
            f"{what}: found the name {name!r}, expected a classifier of torchvision.models, such as resnet50 or "
            f"squeezenet1_0, and none of {', '.join(sorted(_OTHERS))}"
        )
    published = list(models.get_model_weights(name))
    file = Path(location or "").name
    found = [one for one in published if Path(one.url).name == file]
    if file and not found and len(published) > 1:
        names = ", ".join(f"{Path(one.url).name} ({one.name})" for one in published)
        log.warning("%s: %s is called like none of %s; its images are prepared as the first one's", what, file, names)
    return (found or published)[0]
