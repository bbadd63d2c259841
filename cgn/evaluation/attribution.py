"""Where a classifier looks: attributions by captum, and how much of them falls on the digit."""

from collections.abc import Callable

import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Lime
from jaxtyping import Float
from torch import Tensor

from cgn.contracts import Images, Labels
from cgn.errors import InputError
from cgn.mnist import IMAGE_PX
from cgn.models.classifiers import Cnn

Maps = Float[Tensor, "batch 1 height width"]  # how much every place speaks for or against the class
# What stands where nothing is: the plain background where a data set has one for all images, else the middle of all values.
BLACK, GREY = -1.0, 0.0
_STEPS = 32  # of the path from the image that shows nothing
_TILE_PX = 4  # the side of the squares that LIME switches off
_PERTURBATIONS = 200  # per image


def integrated_gradients(network: Cnn, images: Images, classes: Labels, nothing: float) -> Maps:
    """From an image that is `nothing` everywhere. Source: Sundararajan et al. 2017."""
    explained = IntegratedGradients(network).attribute(
        images, baselines=nothing, target=classes, n_steps=_STEPS, internal_batch_size=1024
    )
    maps: Tensor = explained.abs().sum(1, keepdim=True)
    return maps.detach().float()


def grad_cam(network: Cnn, images: Images, classes: Labels, _nothing: float) -> Maps:
    """Of the last convolution's maps, enlarged; what speaks against the class is left out. Source: Selvaraju et al. 2017."""
    explained = LayerGradCam(network, network.pool).attribute(
        images, target=classes, attribute_to_layer_input=True, relu_attributions=True
    )
    maps: Tensor = LayerAttribution.interpolate(explained, (IMAGE_PX, IMAGE_PX), "bilinear")
    return maps.detach().float()


def lime(network: Cnn, images: Images, classes: Labels, nothing: float) -> Maps:
    """A linear model of 64 squares that are switched to `nothing` at random, image by image. Source: Ribeiro et al. 2016."""
    side = IMAGE_PX // _TILE_PX
    squares = torch.arange(side**2).reshape(1, 1, side, side)
    squares = squares.repeat_interleave(_TILE_PX, 2).repeat_interleave(_TILE_PX, 3).expand(1, 3, -1, -1)
    explainer = Lime(network, interpretable_model=SkLearnLinearRegression())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        explained = [
            explainer.attribute(
                image[None],
                baselines=nothing,
                target=int(label),
                feature_mask=squares,
                n_samples=_PERTURBATIONS,
                perturbations_per_eval=_PERTURBATIONS,
            )
            for image, label in zip(images, classes, strict=True)
        ]
    return torch.cat(explained)[:, :1].abs().float()


EXPLAINERS: dict[str, Callable[[Cnn, Images, Labels, float], Maps]] = {
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "lime": lime,
}


def share_on(maps: Float[Tensor, "_ 1 _ _"], objects: Float[Tensor, "_ 1 _ _"]) -> tuple[float, float]:
    """Mean over images of the share of the attribution that falls on the object, in [0, 1], and its standard error.

    Images without any attribution, as Grad-CAM may leave them, do not count.
    Raises: InputError where the two are not of the same images, or fewer than two images have an attribution.
    """
    if maps.shape != objects.shape:
        raise InputError(
            f"share_on: found maps {tuple(maps.shape)} and masks {tuple(objects.shape)}, expected the same"
        )
    total = maps.sum(dim=(1, 2, 3))
    explained = total > 0
    if (count := int(explained.sum())) < 2:
        raise InputError(
            f"share_on: found {count} images with any attribution, expected two or more; the classifier sees nothing"
        )
    shares = (maps * objects).sum(dim=(1, 2, 3))[explained] / total[explained]
    return float(shares.mean()), float(shares.std() / count**0.5)


def variance_share(features: Float[Tensor, "batch features"], labels: Labels) -> float:
    """Share of the features' variance that lies between the means of the labels' classes, in [0, 1]."""
    centred = features - features.mean(0)
    between = sum(
        (labels == label).sum() * centred[labels == label].mean(0).square().sum() for label in labels.unique().tolist()
    )
    return float(between / centred.square().sum().clamp(min=1e-12))


def principal_components(features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch 2"]:
    """The two directions of largest variance; the sign makes each one's largest weight positive."""
    centred = (features - features.mean(0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    two = directions[:2]
    signs = two.gather(1, two.abs().argmax(1, keepdim=True)).sign()
    places: Tensor = centred @ (two * signs).T
    return places.float()
