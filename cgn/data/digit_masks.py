"""The true outlines of digits, as white on black: known to judges and to the report alone."""

import torch

from cgn.config import ColoredConfig, DatasetConfig
from cgn.contracts import Labels, Pixels
from cgn.data.double_colored_mnist import binary_masks
from cgn.data.types import LabelledDigits

_HALF_INK = 0.5  # colored MNIST keeps the digits' greys; its objects begin where half the ink is


def digit_masks(digits: LabelledDigits, config: DatasetConfig) -> tuple[Pixels, Labels]:
    """Each digit as the data set cuts it out, 255 on the object, on all three channels; and the digits' classes."""
    above = _HALF_INK if isinstance(config, ColoredConfig) else config.binarize_above
    masks = binary_masks(digits.images, above).mul(255).to(torch.uint8)
    return masks.expand(-1, 3, -1, -1), digits.labels
