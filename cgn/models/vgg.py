"""VGG16's features, for losses that compare textures; its weights are read from a file that the user names."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cgn.contracts import Images
from cgn.errors import InputError
from cgn.files import sha256
from cgn.rng import stream
from cgn.training import seeded

NUM_STAGES = 4
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"


class VggFeatures(nn.Module):
    """The convolutions of VGG16 up to its fourth pooling; frozen, so gradients reach the images alone.

    Source: Simonyan & Zisserman 2015, configuration D; layers are numbered as torchvision numbers them.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for widths in _STAGES:
            for width in widths:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
                layers += [convolution, nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, images: Images, num_stages: int = NUM_STAGES) -> list[Tensor]:
        """What the first `num_stages` poolings are given: (batch, channels, height, width) each, not negative.

        Images enter in [-1, 1] as they are, without ImageNet's mean and deviation: so the authors of the CGN use it.
        """
        maps, found = images, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(maps)
                if len(found) == num_stages:
                    break
            maps = layer(maps)
        return found


def random_vgg_features(seed: int) -> VggFeatures:
    """Untrained features: for timing and for tests, never for a generator that counts."""
    return seeded(stream(seed, "random_vgg").initial_seed(), VggFeatures)


def load_vgg_features(path: Path, *, sha256_digits: str) -> VggFeatures:
    """VGG16 with weights in torchvision's names, from a .pth state dict or a .safetensors file.

    `sha256_digits` are the first digits of the file's SHA-256; torchvision puts eight into its files' names.
    Raises: InputError where the file is missing, another one, unreadable, or holds other tensors.
    """
    if not path.is_file():
        raise InputError(f"VGG16 weights: found no file at {path}, expected torchvision's; download {_URL} to there")
    digest = sha256(path)
    if not digest.startswith(sha256_digits):
        raise InputError(
            f"VGG16 weights: {path} has SHA-256 {digest[:16]}..., expected {sha256_digits}...; "
            f"download {_URL} again, or set vgg_sha256 to the digits of the file that you mean"
        )
    network = VggFeatures()
    tensors = _read(path)
    expected = network.state_dict()
    for name, weight in expected.items():
        found = tensors.get(name)
        if not isinstance(found, Tensor) or found.shape != weight.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else "missing"
            raise InputError(
                f"VGG16 weights: in {path} {name} is {shape}, expected {tuple(weight.shape)}; "
                f"give the state dict of torchvision's vgg16, as {_URL} holds it"
            )
        if not found.isfinite().all():
            raise InputError(f"VGG16 weights: in {path} {name} is not finite; download {_URL} again")
    network.load_state_dict({name: tensors[name].float() for name in expected})
    return network


def _read(path: Path) -> dict[str, Any]:
    """The file's tensors by name; nothing in it is executed."""
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except Exception as error:  # what damaged pickles make torch raise has no common class
        raise InputError(
            f"VGG16 weights: {path} cannot be read ({type(error).__name__}), expected a .safetensors file or a .pth "
            f"state dict of tensors alone; download {_URL} again"
        ) from error
    if not isinstance(tensors, dict):
        raise InputError(
            f"VGG16 weights: {path} holds a {type(tensors).__name__}, expected a state dict; download {_URL} again"
        )
    return tensors
