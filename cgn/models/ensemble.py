"""Classifiers with one head or three, one per factor, on a backbone that the heads share."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cgn.checkpoints import load_checkpoint, load_into
from cgn.errors import InputError, one_line
from cgn.models.backbones import Backbone, new_backbone
from cgn.models.chains import Step, TokensOf, chain_of, first_of_part, last_layer
from cgn.rng import stream
from cgn.schemas import FACTORS
from cgn.training import seeded

CHECKPOINT_KIND = "imagenet_classifier"
ONE_HEAD, THREE_HEADS = ("only",), FACTORS
NUM_CLASSES = {"imagenet": 1000, "in9": 9, "digits": 10}


class ClassifierForm(NamedTuple):
    """What a classifier is built like, beside its backbone."""

    heads: tuple[str, ...]  # ONE_HEAD or THREE_HEADS
    classes: str  # a key of NUM_CLASSES
    cut: int  # parts of the backbone, from its end, that every head has a copy of
    linear: bool  # heads end with a linear layer on pooled maps, whatever the backbone ends with
    image_px: int
    resize_px: int  # of the shorter side, before the middle is cut out
    interpolation: str
    mean: tuple[float, ...]  # of red, green and blue in [0, 1]
    std: tuple[float, ...]


class HeadedClassifier(nn.Module):
    """A classifier of which the first steps are shared by all heads, and computed once.

    Source: Sauer & Geiger 2021, section 4.2; theirs has the last linear layer thrice.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, form: ClassifierForm, *, name: str, config: Mapping[str, Any]) -> None:
        """`network` is the backbone, whose weights are copied, called `name` in messages; `config` what a checkpoint's header says.

        Layers that give another number of classes than the backbone's are new, see `draw_new_heads`.
        Raises: InputError where the backbone cannot be cut so, or was made for images of another size.
        """
        super().__init__()
        chain = chain_of(network, name)
        steps, self.is_new = _with_end(chain.steps, NUM_CLASSES[form.classes], linear=form.linear, name=name)
        if isinstance(tokens := steps[0][1], TokensOf) and tokens.size_px != form.image_px:
            raise InputError(
                f"image_px: found {form.image_px}, expected {tokens.size_px}, which backbone {name} was made for"
            )
        first = first_of_part(steps, form.cut, name)
        self._last = steps[last_layer(steps, name)][0]
        self._maps, self.name, self.form, self.config = chain.maps, name, form, dict(config)
        self.trunk = nn.Sequential(OrderedDict(copy.deepcopy(steps[:first])))
        self.ends = nn.ModuleDict(
            {head: nn.Sequential(OrderedDict(copy.deepcopy(steps[first:]))) for head in form.heads}
        )
        for what, values in (("mean", form.mean), ("std", form.std)):
            self.register_buffer(what, torch.tensor(values).mul(255).view(3, 1, 1), persistent=False)

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads' names."""
        return self.form.heads

    @property
    def classes(self) -> str:
        """Which classes logits are of: imagenet or in9."""
        return self.form.classes

    @property
    def image_px(self) -> int:
        """A side of the images that it was trained on."""
        return self.form.image_px

    @property
    def resize_px(self) -> int:
        """What photographs' shorter side is resized to, before the middle is cut out."""
        return self.form.resize_px

    @property
    def interpolation(self) -> str:
        """How they are resized."""
        return self.form.interpolation

    def grad_cam_layer_of(self, head: str) -> nn.Module:
        """The module that gives the last maps on the way to a head's logits, (batch, channels, height, width).

        Raises: InputError where a backbone has no maps, as vision transformers.
        """
        if self._maps is None:
            raise InputError(f"backbone {self.name}: found no maps, which Grad-CAM explains; use occlusion or LIME")
        for part in (self.trunk, self.ends[head]):
            if (layer := dict(part.named_children()).get(self._maps)) is not None:
                return layer
        raise AssertionError(self._maps)

    @property
    def grad_cam_layer(self) -> nn.Module:
        """The same where all heads share it, and else the first head's."""
        return self.grad_cam_layer_of(self.heads[0])

    def last_layer_of(self, head: str) -> nn.Linear | nn.Conv2d:
        """The layer that gives a head's logits."""
        layer: nn.Linear | nn.Conv2d = getattr(self.ends[head], self._last)
        return layer

    def forward(self, pixels: Tensor) -> dict[str, Float[Tensor, "batch classes"]]:
        """Logits by head, float32, of images (batch, 3, height, width): uint8, or any other type between 0 and 255."""
        shared = self.shared(pixels)
        return {head: self._logits(end, shared) for head, end in self.ends.items()}

    def _logits(self, end: Any, maps: Tensor) -> Tensor:
        """From the last layer on in float32 whatever autocast says: in bfloat16 the two likeliest classes of every fiftieth image are
        equally likely.
        """
        last = [name for name, _ in end.named_children()].index(self._last)
        features = end[:last](maps)
        with torch.autocast(maps.device.type, enabled=False):
            logits: Tensor = end[last:](features.float())
        return logits

    def shared(self, pixels: Tensor) -> Tensor:
        """What all heads see; with `cut` 1, the features."""
        images = (pixels.float() - self.mean) / self.std
        shared: Tensor = self.trunk(images)
        return shared


def _with_end(steps: list[Step], num_classes: int, *, linear: bool, name: str) -> tuple[list[Step], bool]:
    """The steps with a last layer for so many classes, and whether it is a new one."""
    place = last_layer(steps, name)
    key, last = steps[place]
    new: nn.Module
    if isinstance(last, nn.Conv2d) and linear:
        pool: list[Step] = [("head_pool", nn.AdaptiveAvgPool2d(1)), ("head_flatten", nn.Flatten())]
        return [*steps[:place], *pool, (key, nn.Linear(last.in_channels, num_classes))], True
    if isinstance(last, nn.Conv2d):
        found, new = last.out_channels, nn.Conv2d(last.in_channels, num_classes, 1)
    elif isinstance(last, nn.Linear):
        found, new = last.out_features, nn.Linear(last.in_features, num_classes)
    else:
        raise TypeError(last)  # excluded by last_layer
    return (steps, False) if found == num_classes else ([*steps[:place], (key, new), *steps[place + 1 :]], True)


def form_of(
    backbone: Backbone, *, heads: tuple[str, ...], classes: str, cut: int, linear: bool, image_px: int
) -> ClassifierForm:
    """The form with a backbone's preprocessing, scaled to another size of images."""
    given = backbone.preprocessing
    resize_px = max(image_px, round(given.resize_px * image_px / given.crop_px))
    return ClassifierForm(heads, classes, cut, linear, image_px, resize_px, given.interpolation, given.mean, given.std)


def headed(
    backbone: Backbone, form: ClassifierForm, *, seed: int, config: Mapping[str, Any], new_heads: bool = False
) -> HeadedClassifier:
    """A classifier as its training begins: the backbone's weights, and new ones of last layers for other classes than its own, or of
    all last layers where `new_heads` says so.

    `config` is what its checkpoint's header says beside the form. Raises: InputError as HeadedClassifier does.
    """
    network = seeded(0, lambda: HeadedClassifier(backbone.network, form, name=backbone.name, config={}))
    if network.is_new or new_heads:
        draw_new_heads(network, seed=seed)
    of = {name: getattr(backbone, name) for name in ("name", "source", "sha256", "weights")}
    network.config = {**config, "backbone": of, **form._asdict(), "seed": seed}
    _try_out(network)
    return network


@torch.no_grad()
def _try_out(network: HeadedClassifier) -> None:
    """Show it one image, in case that its steps take no images of this size."""
    size = network.image_px
    network.eval()
    try:
        network(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"image_px: found {size}, expected a size that backbone {network.name} takes, such as 224 ({one_line(error)})"
        ) from error
    network.train()


def draw_new_heads(network: HeadedClassifier, *, seed: int) -> None:
    """Draw weights of the heads' last layers from the seed, for each its own."""
    for head in network.heads:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(seed, "head", head).initial_seed())
            network.last_layer_of(head).reset_parameters()


def load_classifier_checkpoint(path: Path, *, seed: int | None = None) -> HeadedClassifier:
    """A trained classifier, for inference; `config` is what its header says. With `seed`, one that was trained with it.

    Raises: InputError where the file is missing, damaged, no classifier of natural images, or of another seed.
    """
    checkpoint = load_checkpoint(path, kind=CHECKPOINT_KIND)
    config = checkpoint.config
    if seed is not None and (found := config.get("seed")) != seed:
        raise InputError(f"{path}: found seed {found!r}, expected {seed}; delete it and run `dvc repro`")
    given = {name: config[name] for name in ClassifierForm._fields}
    for name in ("heads", "mean", "std"):
        given[name] = tuple(given[name])
    name = config["backbone"]["name"]
    form = ClassifierForm(**given)
    network = seeded(0, lambda: HeadedClassifier(new_backbone(name), form, name=name, config=config))
    load_into(network, checkpoint.tensors, path)
    return network.eval()
