"""Classifiers as rows of steps, each of which sees what the one before it gives, so that they can be cut between any two."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.errors import InputError

# isort: split
from torchvision import models

Step = tuple[str, nn.Module]
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class Chain(NamedTuple):
    """A classifier's steps, and the name of the one whose maps are the last; None where there are no maps."""

    steps: list[Step]
    maps: str | None


def chain_of(network: nn.Module, name: str) -> Chain:
    """The steps of one of torchvision's classifiers, or of any `nn.Sequential`: together they compute what it does.

    Raises: InputError where it is of another family, or does not end with a linear layer or a 1 x 1 convolution.
    """
    family = next((build for kind, build in _FAMILIES.items() if isinstance(network, kind)), None)
    if family is None:
        known = ", ".join(kind.__name__ for kind in _FAMILIES)
        raise InputError(
            f"backbone {name}: found a {type(network).__name__}, of which it is not known where its head begins, expected one of "
            f"{known}, whose head is their last linear layer or 1 x 1 convolution; name another backbone, such as resnet50"
        )
    chain = family(network)
    last_layer(chain.steps, name)
    return chain


def last_layer(steps: list[Step], name: str) -> int:
    """The place of the step that gives logits. Raises: InputError where it is no linear layer and no 1 x 1 convolution."""
    place = max((number for number, (_, module) in enumerate(steps) if _has_weights(module)), default=None)
    key, last = (None, None) if place is None else steps[place]
    if place is None or not (
        isinstance(last, nn.Linear) or (isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1))
    ):
        found = "no layer with weights" if place is None else f"{key}, a {type(last).__name__},"
        raise InputError(
            f"backbone {name}: found {found} at its end, expected a linear layer or a 1 x 1 convolution, which heads are copies of; "
            "name another backbone, such as resnet50"
        )
    return place


def first_of_part(steps: list[Step], part: int, name: str) -> int:
    """Where the last so many parts begin: 1 is the layer that gives logits; normalisations belong to the part before them.

    Raises: InputError where there are not more parts than that.
    """
    places = [
        number
        for number, (_, module) in enumerate(steps)
        if _has_weights(module) and not isinstance(module, _NORMS)  # a block with a normalisation inside is a part
    ]
    if part >= len(places):
        raise InputError(f"cut: found {part}, expected less than the {len(places)} parts of backbone {name}")
    return places[-part]


class TokensOf(nn.Module):
    """The first step of a vision transformer: images to tokens, the class's before those of patches."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.patches, self.size_px, self.patch_px = network.conv_proj, network.image_size, network.patch_size
        self.class_token, self.positions = network.class_token, network.encoder.pos_embedding
        self.dropout = network.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        """Raises: InputError where images are of another size than the positions are for."""
        if images.shape[-2:] != (self.size_px, self.size_px):
            raise InputError(
                f"image_px: found {images.shape[-1]}, expected {self.size_px}, for which this vision transformer was made"
            )
        patches = self.patches(images).flatten(2).mT
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        found: Tensor = self.dropout(tokens + self.positions)
        return found


class _ClassToken(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


class _MeanOfMaps(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


class _PoolTo(nn.Module):
    """Adaptive pooling that leaves maps of the right size alone, which saves GPUs a step that is not the same every time."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(size)

    def forward(self, maps: Tensor) -> Tensor:
        if tuple(maps.shape[-2:]) == self.pool.output_size:
            return maps
        pooled: Tensor = self.pool(maps)
        return pooled


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _children(network: nn.Module, *names: str) -> list[Step]:
    return [(name, getattr(network, name)) for name in names]


def _inside(network: nn.Module, *names: str) -> list[Step]:
    """What is inside of containers, which are called one after another."""
    return [(f"{name}_{inner}", module) for name in names for inner, module in getattr(network, name).named_children()]


def _sequential(network: nn.Module) -> Chain:
    steps = list(network.named_children())
    pools = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)
    flat = next((number for number, (_, module) in enumerate(steps) if isinstance(module, pools)), 0)
    return Chain(steps, steps[flat - 1][0] if flat else None)


def _resnet(network: Any) -> Chain:
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
    return Chain([*_children(network, *names), ("flatten", nn.Flatten()), ("fc", network.fc)], "layer4")


def _squeezenet(network: nn.Module) -> Chain:
    features = _inside(network, "features")
    return Chain([*features, *_inside(network, "classifier"), ("flatten", nn.Flatten())], features[-1][0])


def _vgg(network: Any) -> Chain:
    features = _inside(network, "features")
    pool = _PoolTo(network.avgpool.output_size)
    flat = [("avgpool", pool), ("flatten", nn.Flatten())]
    return Chain([*features, *flat, *_inside(network, "classifier")], features[-1][0])


def _mean_of_features(network: nn.Module) -> Chain:
    features = _inside(network, "features")
    return Chain([*features, ("mean", _MeanOfMaps()), *_inside(network, "classifier")], features[-1][0])


def _convnext(network: nn.Module) -> Chain:
    features = _inside(network, "features")
    return Chain([*features, *_children(network, "avgpool"), *_inside(network, "classifier")], features[-1][0])


def _mnasnet(network: nn.Module) -> Chain:
    layers = _inside(network, "layers")
    return Chain([*layers, ("mean", _MeanOfMaps()), *_inside(network, "classifier")], layers[-1][0])


def _shufflenet(network: nn.Module) -> Chain:
    steps = _children(network, "conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")
    return Chain([*steps, ("mean", _MeanOfMaps()), *_children(network, "fc")], "conv5")


def _regnet(network: nn.Module) -> Chain:
    blocks = _inside(network, "trunk_output")
    steps = [*_children(network, "stem"), *blocks, ("mean", _MeanOfMaps()), *_children(network, "fc")]
    return Chain(steps, blocks[-1][0])


def _swin(network: nn.Module) -> Chain:
    end = _children(network, "norm", "permute", "avgpool", "flatten", "head")
    return Chain([*_inside(network, "features"), *end], "permute")


def _maxvit(network: nn.Module) -> Chain:
    blocks = _inside(network, "blocks")
    return Chain([*_children(network, "stem"), *blocks, *_inside(network, "classifier")], blocks[-1][0])


def _vit(network: Any) -> Chain:
    layers = [(f"layers_{name}", layer) for name, layer in network.encoder.layers.named_children()]
    end = [("norm", network.encoder.ln), ("class_token", _ClassToken()), *_inside(network, "heads")]
    return Chain([("tokens", TokensOf(network)), *layers, *end], None)


_FAMILIES: Mapping[type[nn.Module], Callable[[Any], Chain]] = {
    models.ResNet: _resnet,
    models.SqueezeNet: _squeezenet,
    models.VGG: _vgg,
    models.AlexNet: _vgg,
    models.MobileNetV2: _mean_of_features,
    models.MobileNetV3: _mean_of_features,
    models.EfficientNet: _mean_of_features,
    models.ConvNeXt: _convnext,
    models.MNASNet: _mnasnet,
    models.ShuffleNetV2: _shufflenet,
    models.RegNet: _regnet,
    models.SwinTransformer: _swin,
    models.MaxVit: _maxvit,
    models.VisionTransformer: _vit,
    nn.Sequential: _sequential,
}
