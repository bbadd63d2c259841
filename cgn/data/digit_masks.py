"""The true outlines of digits, as white on black: known to judges and to the report alone."""

import torch
import torch.nn.functional as F

from cgn.config import ColoredConfig, DatasetConfig
from cgn.contracts import Labels, Pixels
from cgn.data.double_colored_mnist import binary_masks
from cgn.data.types import LabelledDigits
from cgn.mnist import IMAGE_PX

_HALF_INK = 0.5  # colored MNIST keeps the digits' greys; its objects begin where half the ink is


def digit_masks(digits: LabelledDigits, config: DatasetConfig) -> tuple[Pixels, Labels]:
    """Each digit as the data set cuts it out, 255 on the object, on all three channels; and the digits' classes.

    Data sets enlarge digits in two ways, so a digit's outline lies elsewhere in colored MNIST than in the others.
    """
    if isinstance(config, ColoredConfig):
        ink = F.interpolate(digits.images[:, None].float().div_(255), size=IMAGE_PX, mode="nearest-exact")
        objects = ink > _HALF_INK
    else:
        objects = binary_masks(digits.images, config.binarize_above).bool()
    return objects.to(torch.uint8).mul(255).expand(-1, 3, -1, -1), digits.labels
