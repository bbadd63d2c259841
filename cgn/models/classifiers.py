"""Classifier networks for 32 px images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.contracts import Images
from cgn.mnist import NUM_CLASSES

MAP_CHANNELS, MAP_PX = 64, 8  # of the last convolution's maps
_NUM_CONVOLUTIONAL = 9  # layers up to there


class _NormalisedConvolution(nn.Conv2d):
    """Batch normalisation with scale and offset, then a convolution, in one: the same numbers in two thirds of the time.

    The offset enters as one more input channel of ones, so that it ends at the padding as it should; scale and offset
    are multiplied into the weights. So training computes no gradient of the images, and none flows through the batch's
    statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, inputs: int, channels: int, size: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(inputs, channels, size, padding=size // 2)
        self.eps, self.momentum = eps, momentum
        self.scale, self.offset = nn.Parameter(torch.ones(inputs)), nn.Parameter(torch.zeros(inputs))
        self.register_buffer("running_mean", torch.zeros(inputs))
        self.register_buffer("running_var", torch.ones(inputs))

    def forward(self, input: Images) -> Tensor:  # noqa: A002  # nn.Conv2d's name
        mean, var = self._statistics(input) if self.training else (self.running_mean, self.running_var)
        normalised = (input - mean[:, None, None]) * torch.rsqrt(var + self.eps)[:, None, None]
        scale, offset = self.scale[:, None, None], self.offset[:, None, None]
        weight = torch.cat([self.weight * scale, (self.weight * offset).sum(1, keepdim=True)], dim=1)
        images = torch.cat([normalised, torch.ones_like(normalised[:, :1])], dim=1)
        return F.conv2d(images, weight, self.bias, padding=self.padding)

    @torch.no_grad()
    def _statistics(self, images: Images) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over the batch; the running ones follow, the variance unbiased."""
        var, mean = torch.var_mean(images, dim=(0, 2, 3), correction=0)
        count = images.numel() / images.shape[1]
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        return mean, var


class Cnn(nn.Sequential):
    """The paper's digit classifier, 67,760 parameters: images in [-1, 1] to logits (batch, 10).

    The average pool of 7 px drops the last row and column of its 8 px map, as in the original.
    Source: Kim et al. 2019, whose network Sauer & Geiger 2021 use in appendix C.4.

    # Differs from the paper: first weights after He et al. 2015. With torch's smaller ones signals fade towards the last
    # layer, and on Wildlife MNIST some runs never leave chance.
    """

    def __init__(self) -> None:
        super().__init__(
            _NormalisedConvolution(3, 32, 5),
            nn.MaxPool2d(2),  # before its ReLU: the same numbers from a quarter of the work
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(7),
            nn.Flatten(),
            nn.Linear(64, NUM_CLASSES),
        )
        for layer in self:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def maps(self, images: Images) -> Tensor:
        """What the convolutions see: (batch, 64, 8, 8)."""
        for layer in list(self)[:_NUM_CONVOLUTIONAL]:
            images = layer(images)
        return images

    @property
    def pool(self) -> nn.Module:
        """The layer whose input is what `maps` returns."""
        return self[_NUM_CONVOLUTIONAL]

    def features(self, images: Images) -> Tensor:
        """What the last layer sees: (batch, 64)."""
        features: Tensor = self[_NUM_CONVOLUTIONAL + 1](self.pool(self.maps(images)))
        return features

    def classify(self, maps: Tensor) -> Tensor:
        """Logits (batch, 10) from `maps`."""
        for layer in list(self)[_NUM_CONVOLUTIONAL:]:
            maps = layer(maps)
        return maps

    def forward(self, images: Images) -> Tensor:
        """Images in [-1, 1] to logits (batch, 10)."""
        return self.classify(self.maps(images))
