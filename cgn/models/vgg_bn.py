"""VGG16 with batch normalisation: features like those of VGG16, from other published weights."""

from pathlib import Path

from torch import nn

from cgn.models.published import Published, fill, read_published
from cgn.models.vgg import VggFeatures
from cgn.rng import stream
from cgn.training import seeded

_WHAT = Published("VGG16-BN", "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth")
_COUNTED = "num_batches_tracked"  # says nothing about what a network computes; older files lack it


class VggBnFeatures(VggFeatures):
    """`VggFeatures` with every convolution's channels normalised by the statistics that are known of them, also in training.

    Source: Simonyan & Zisserman 2015, configuration D, with Ioffe & Szegedy 2015; layers are numbered as torchvision numbers them.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in self.features:
            layers.append(layer)
            if isinstance(layer, nn.Conv2d):
                layers.append(nn.BatchNorm2d(layer.out_channels))
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "VggBnFeatures":  # noqa: ARG002
        """Nothing changes: statistics of a batch are never used."""
        super().train(False)
        return self


def random_vgg_bn_features(seed: int) -> VggBnFeatures:
    """Untrained features: for timing and for tests, never for a generator that counts."""
    return seeded(stream(seed, "random_vgg_bn").initial_seed(), VggBnFeatures)


def load_vgg_bn_features(path: Path, *, sha256_digits: str) -> VggBnFeatures:
    """VGG16-BN with weights in torchvision's names, from a .pth state dict or a .safetensors file.

    `sha256_digits` are the first digits of the file's SHA-256; torchvision puts eight into its files' names.
    Raises: InputError where the file is missing, another one, unreadable, or holds other tensors.
    """
    tensors = read_published(path, _WHAT, sha256_digits=sha256_digits)
    network = VggBnFeatures()
    known = network.state_dict()  # the file also holds the last convolutions and the classifier
    counts = {name: tensor for name, tensor in known.items() if name.endswith(_COUNTED)}
    fill(network, {**counts, **{name: tensor for name, tensor in tensors.items() if name in known}}, path, _WHAT)
    return network
