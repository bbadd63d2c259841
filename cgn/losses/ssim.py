"""Structural similarity of two images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.contracts import Images, Scalar

_WINDOW_PX, _SIGMA = 11, 1.5
_RANGE = 2.0  # of images in [-1, 1]
_C1, _C2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2


def structural_similarity(found: Images, target: Images) -> Scalar:
    """Mean over images, channels and places of the structural similarity: 1 for equal images, down to -1.

    Source: Wang et al. 2004, equation 13, with its Gaussian window of 11 px and constants 0.01 and 0.03.
    """
    places = torch.arange(_WINDOW_PX, dtype=found.dtype) - _WINDOW_PX // 2
    line = torch.softmax(-(places**2) / (2 * _SIGMA**2), 0)
    window = (line[:, None] * line).expand(found.shape[1], 1, -1, -1)

    def local_mean(images: Tensor) -> Tensor:
        return F.conv2d(images, window, groups=images.shape[1])

    mean_found, mean_target = local_mean(found), local_mean(target)
    variances = local_mean(found**2) - mean_found**2 + local_mean(target**2) - mean_target**2
    covariance = local_mean(found * target) - mean_found * mean_target
    similarity: Tensor = ((2 * mean_found * mean_target + _C1) * (2 * covariance + _C2)) / (
        (mean_found**2 + mean_target**2 + _C1) * (variances + _C2)
    )
    return similarity.mean()
