"""Telling which mask an image was composed with."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.contracts import Images, Labels
from cgn.mnist import NUM_CLASSES

_EMBEDDING = 8  # numbers per class, beside the three colours of every pixel


class MaskInference(nn.Module):
    """An image and its one label to the mask behind it.

    Source: Ronneberger et al. 2015 (U-Net), here with two halvings and a single convolution per level.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CLASSES, _EMBEDDING)
        self.down = nn.ModuleList(
            [_convolution(3 + _EMBEDDING, width), _convolution(width, 2 * width), _convolution(2 * width, 4 * width)]
        )
        self.up = nn.ModuleList([_convolution(6 * width, 2 * width), _convolution(3 * width, width)])
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, images: Images, labels: Labels) -> Tensor:
        """Images in [-1, 1] and labels to logits of masks, (batch, 1, height, width)."""
        classes = self.embed(labels)[:, :, None, None].expand(-1, -1, *images.shape[2:])
        fine = self.down[0](torch.cat([images, classes], dim=1).contiguous(memory_format=torch.channels_last))
        middle = self.down[1](F.max_pool2d(fine, 2))
        coarse = self.down[2](F.max_pool2d(middle, 2))
        middle = self.up[0](torch.cat([middle, _doubled(coarse)], dim=1))
        fine = self.up[1](torch.cat([fine, _doubled(middle)], dim=1))
        logits: Tensor = self.last(fine).float()
        return logits


def _convolution(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")
