"""Where classifiers of natural images look, head by head: attributions by captum, and how much of them falls on the object."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import LayerAttribution, LayerGradCam, Lime, Occlusion
from jaxtyping import Float, UInt8
from torch import Tensor

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.config import ExplainConfig
from cgn.contracts import Labels
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.evaluation.attribution import share_on
from cgn.models.ensemble import HeadedClassifier
from cgn.rng import stream

# isort: split
from torchvision import models

Pictures = UInt8[Tensor, "batch 3 height width"]
Maps = Float[Tensor, "batch 1 height width"]  # how much every place speaks for the class, 0 or more
Objects = Float[Tensor, "batch 1 height width"]  # 1: object

GRAD_CAM, OCCLUSION, LIME = EXPLAINERS = ("grad_cam", "occlusion", "lime")
GREY = 127.5  # what is put in place of what is switched off
TOP = 5
_BATCH = 64  # images in one forward pass


class Answer(NamedTuple):
    """What a head says of an image."""

    classes: list[int]  # the likeliest first
    probabilities: list[float]


class Share(NamedTuple):
    """Mean over images of the share of the attribution that falls on the object, in [0, 1], and its standard error."""

    value: float
    error: float
    num_images: int  # that have any attribution


def class_names(classes: str) -> tuple[str, ...]:
    """What the classes of a classifier are called, in English: ImageNet's thousand, or the nine of ImageNet-9."""
    if classes == "in9":
        return tuple(IN9)
    return tuple(models.get_model_weights("squeezenet1_1")["DEFAULT"].meta["categories"])


# ---- what heads say


def head_logits(network: HeadedClassifier, pictures: Pictures) -> dict[str, Float[Tensor, "batch classes"]]:
    """Every head's logits, on the CPU."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [network(batch.to(device)) for batch in pictures.split(_BATCH)]
    return {head: torch.cat([part[head] for part in parts]).cpu().clone() for head in parts[0]}


def answers(logits: Float[Tensor, "batch classes"]) -> list[Answer]:
    """The five likeliest classes of every image; of classes as likely as each other the lower number comes first."""
    order = logits.argsort(dim=1, descending=True, stable=True)[:, :TOP]
    probabilities = logits.double().softmax(1).gather(1, order)
    return [Answer(*one) for one in zip(order.tolist(), probabilities.tolist(), strict=True)]


def kinds(predicted: Labels, classes: str) -> Labels:
    """What heads are compared by: ImageNet-9's class, or, of a class outside, itself as a number above them."""
    if classes == "in9":
        return predicted
    coarse = coarse_labels(IN9)[predicted]
    return torch.where(coarse >= 0, coarse, len(IN9) + predicted)


def num_opinions(logits: dict[str, Float[Tensor, "batch classes"]], classes: str) -> list[int]:
    """How many different kinds of class the heads name, image by image: 1 where they agree."""
    named = torch.stack([kinds(of_head.argmax(1), classes) for of_head in logits.values()], 1)
    return [len(set(row)) for row in named.tolist()]


def chosen(opinions: Sequence[Sequence[int]], num: int, num_images: int) -> list[int]:
    """Places of up to `num_images` of `num` images to explain: those on which heads disagree most before others, else in their order.

    `opinions` are `num_opinions` of one classifier of several heads after another.
    """
    differing = [sum(of_one[place] - 1 for of_one in opinions) for place in range(num)]
    return sorted(range(num), key=lambda place: -differing[place])[:num_images]


# ---- where heads look


class Question(NamedTuple):
    """What is explained: why every head finds its classes in these pictures, which are as large as the network's."""

    network: HeadedClassifier
    pictures: Pictures
    classes: Mapping[str, Labels]  # by head


class _Asked:
    """A network's answers to one series of pictures, which is the same for every head: computed once, then remembered."""

    def __init__(self, network: HeadedClassifier) -> None:
        self._network = network
        self._answers: list[dict[str, Tensor]] = []

    def about(self, head: str) -> Callable[[Tensor], Tensor]:
        """A head's logits of the series, from its beginning."""
        remembered = iter(tuple(self._answers))

        def logits(images: Tensor) -> Tensor:
            if (found := next(remembered, None)) is None:
                found = self._network(images)
                self._answers.append(found)
            return found[head]

        return logits


def grad_cam(question: Question) -> dict[str, Maps]:
    """Of the last maps on the way to a head, enlarged; what speaks against the class is left out.

    Source: Selvaraju et al. 2017. Raises: InputError where the backbone has no maps.
    """
    network, pictures = question.network, question.pictures
    found = {}
    for head, classes in question.classes.items():
        explainer = LayerGradCam(_Asked(network).about(head), network.grad_cam_layer_of(head))
        explained = explainer.attribute(pictures.float(), target=classes, relu_attributions=True)
        enlarged: Tensor = LayerAttribution.interpolate(explained, tuple(pictures.shape[2:]), "bilinear")
        found[head] = enlarged.detach().float()
    return found


def occlusion(question: Question, *, side_px: int) -> dict[str, Maps]:
    """How much a logit falls where a grey square covers the image, which moves by half its side; a rise is left out.

    Source: Zeiler & Fergus 2014, section 4.2.
    """
    side = min(side_px, *question.pictures.shape[2:])
    half = max(1, side // 2)

    def explain_one(logits: Callable[[Tensor], Tensor], picture: Tensor, label: int, _: int) -> Tensor:
        found: Tensor = Occlusion(logits).attribute(
            picture,
            sliding_window_shapes=(3, side, side),
            strides=(3, half, half),
            baselines=GREY,
            target=label,
            perturbations_per_eval=_BATCH,
        )
        return found

    return _one_by_one(question, explain_one)


def lime(question: Question, *, side_px: int, num_samples: int, seed: int) -> dict[str, Maps]:
    """A linear model of squares that are switched to grey at random, image by image; what speaks against the class is left out.

    Which are switched is drawn from the seed, alike for all heads and classifiers.
    # Differs from the paper: squares for superpixels, so that images need no segmentation.
    Source: Ribeiro et al. 2016.
    """
    pictures = question.pictures
    height, width = pictures.shape[2:]
    across = -(-width // side_px)
    squares = (torch.arange(height) // side_px)[:, None] * across + torch.arange(width) // side_px
    squares = squares.expand(1, 3, -1, -1).to(pictures.device)

    def explain_one(logits: Callable[[Tensor], Tensor], picture: Tensor, label: int, place: int) -> Tensor:
        with torch.random.fork_rng(devices=[pictures.device] if pictures.is_cuda else []):
            torch.manual_seed(stream(seed, "lime", place).initial_seed())
            found: Tensor = Lime(logits, interpretable_model=SkLearnRidge()).attribute(
                picture,
                target=label,
                feature_mask=squares,
                baselines=GREY,
                n_samples=num_samples,
                perturbations_per_eval=_BATCH,
            )
        return found

    return _one_by_one(question, explain_one)


def _one_by_one(
    question: Question, explain_one: Callable[[Callable[[Tensor], Tensor], Tensor, int, int], Tensor]
) -> dict[str, Maps]:
    """What perturbs pictures, whose perturbations do not depend on the head: from logits, a picture, its class and its place."""
    found: dict[str, list[Tensor]] = {head: [] for head in question.classes}
    for place, picture in enumerate(question.pictures.float().split(1)):
        asked = _Asked(question.network)
        with torch.no_grad():
            for head, classes in question.classes.items():
                explained = explain_one(asked.about(head), picture, int(classes[place]), place)
                found[head].append(explained[:, :1].clamp(min=0).float())
    return {head: torch.cat(parts) for head, parts in found.items()}


def explain(explainer: str, question: Question, config: ExplainConfig, *, seed: int) -> dict[str, Maps]:
    """Where every head looks, by one of EXPLAINERS, on the CPU; pictures and classes may be elsewhere than the network.

    Raises: InputError where the explainer cannot explain this backbone.
    """
    device = next(question.network.parameters()).device
    classes = {head: labels.to(device) for head, labels in question.classes.items()}
    asked = Question(question.network, question.pictures.to(device), classes)
    explain_by: dict[str, Callable[[], dict[str, Maps]]] = {
        GRAD_CAM: lambda: grad_cam(asked),
        OCCLUSION: lambda: occlusion(asked, side_px=config.occlusion_px),
        LIME: lambda: lime(asked, side_px=config.occlusion_px, num_samples=config.lime_samples, seed=seed),
    }
    return {head: maps.cpu() for head, maps in explain_by[explainer]().items()}


def shares_on(maps: Maps, objects: Objects) -> list[float | None]:
    """Image by image the share of the attribution that falls on the object; None where nothing was attributed."""
    totals, inside = (part.double().sum(dim=(1, 2, 3)).tolist() for part in (maps, maps * objects))
    return [of / total if total > 0 else None for of, total in zip(inside, totals, strict=True)]


def mean_share(maps: Maps, objects: Objects) -> Share | None:
    """Over images, those without any attribution left out; None where fewer than two are left."""
    count = int((maps.sum(dim=(1, 2, 3)) > 0).sum())
    return Share(*share_on(maps, objects), count) if count >= 2 else None
