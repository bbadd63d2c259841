"""VGG16's features, for losses that compare textures; its weights are read from a file that the user names."""

from pathlib import Path

from torch import Tensor, nn

from cgn.contracts import Images
from cgn.models.published import Published, fill, read_published
from cgn.rng import stream
from cgn.training import seeded

NUM_STAGES = 4
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
_WHAT = Published("VGG16", "https://download.pytorch.org/models/vgg16-397923af.pth")


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
    tensors = read_published(path, _WHAT, sha256_digits=sha256_digits)
    network = VggFeatures()
    known = network.state_dict()  # the file also holds the last convolutions and the classifier
    fill(network, {name: tensor for name, tensor in tensors.items() if name in known}, path, _WHAT)
    return network
