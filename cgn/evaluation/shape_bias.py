"""Shape bias: whether a classifier goes by the shape or by the texture where the two contradict each other.

Source: Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture", section 2 and figure 4.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cgn.data.imagenet_classes import SIXTEEN, coarse_labels
from cgn.errors import InputError
from cgn.evaluation.intervals import Interval, interval, resampled_counts

CATEGORIES = tuple(SIXTEEN)


class ShapeBias(NamedTuple):
    """Decisions on images whose shape and texture are of two categories."""

    num_shape: int  # decided by the shape
    num_texture: int
    num_images: int  # the rest named neither
    per_category: Mapping[str, tuple[int, int]]  # by the category of the shape: decided by the shape, by the texture

    @property
    def shape_bias(self) -> float:
        """Share of shape among the decisions for shape or texture, in [0, 1].

        Raises: InputError where no image was decided by either: the share is then undefined, not 0.
        """
        if self.num_shape + self.num_texture == 0:
            raise InputError(
                f"shape_bias: found {self.num_images} images, none decided by shape or texture, expected some; the classifier "
                "knows none of their categories"
            )
        return self.num_shape / (self.num_shape + self.num_texture)

    def interval(self, rng: torch.Generator) -> Interval:
        """The shape bias with an interval by bootstrap over images, those that were decided by neither among them.

        Resamples in which it is undefined say nothing. Raises: InputError where it is undefined itself.
        """
        value, rest = self.shape_bias, self.num_images - self.num_shape
        by_shape = resampled_counts(self.num_shape / self.num_images, self.num_images, rng)
        by_texture = resampled_counts(self.num_texture / max(rest, 1), self.num_images - by_shape, rng)
        decided = by_shape + by_texture
        return interval(value, (by_shape / decided)[decided > 0])


def category_probabilities(probabilities: Float[Tensor, "batch 1000"]) -> Float[Tensor, "batch 16"]:
    """Per category the mean probability of the ImageNet classes in it; the rest of ImageNet is left out.

    Source: Geirhos et al. 2019, section A.5: averaged, so that a category is not likelier for having more classes.
    """
    labels = coarse_labels(SIXTEEN)
    means = [probabilities[:, labels == place].mean(1) for place in range(len(CATEGORIES))]
    return torch.stack(means, 1)


def decided_categories(logits: Float[Tensor, "batch 1000"]) -> list[str]:
    """The likeliest of the sixteen categories of every image, by `category_probabilities` of the softmax."""
    return [CATEGORIES[place] for place in category_probabilities(logits.float().softmax(1)).argmax(1).tolist()]


def shape_bias(decisions: Sequence[str], shapes: Sequence[str], textures: Sequence[str]) -> ShapeBias:
    """How images were decided, of which the category of the shape and of the texture are known; names are those of CATEGORIES.

    Images whose shape and texture are of one category say nothing and are left out.
    Raises: InputError for a name that is no category, lists of different lengths, or where no image is left.
    """
    if not len(decisions) == len(shapes) == len(textures):
        found = f"{len(decisions)} decisions, {len(shapes)} shapes and {len(textures)} textures"
        raise InputError(f"shape_bias: found {found}, expected as many of each")
    if unknown := sorted({*decisions, *shapes, *textures} - set(CATEGORIES)):
        raise InputError(f"shape_bias: found {unknown[0]!r}, allowed: {', '.join(CATEGORIES)}")
    by_shape, by_texture = dict.fromkeys(CATEGORIES, 0), dict.fromkeys(CATEGORIES, 0)
    num_images = 0
    for decision, shape, texture in zip(decisions, shapes, textures, strict=True):
        if shape == texture:
            continue
        num_images += 1
        by_shape[shape] += decision == shape
        by_texture[shape] += decision == texture
    if num_images == 0:
        raise InputError("shape_bias: found no image whose shape and texture differ, expected some")
    counts = {name: (by_shape[name], by_texture[name]) for name in CATEGORIES}
    return ShapeBias(sum(by_shape.values()), sum(by_texture.values()), num_images, counts)
