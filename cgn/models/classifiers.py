"""Classifier networks for 32 px images."""

from torch import Tensor, nn

from cgn.contracts import Images
from cgn.mnist import NUM_CLASSES

MAP_CHANNELS, MAP_PX = 64, 8  # of the last convolution's maps
_NUM_CONVOLUTIONAL = 10  # layers up to there


class Cnn(nn.Sequential):
    """The paper's digit classifier, 67,760 parameters: images in [-1, 1] to logits (batch, 10).

    The average pool of 7 px drops the last row and column of its 8 px map, as in the original.
    Source: Kim et al. 2019, whose network Sauer & Geiger 2021 use in appendix C.4.

    # Differs from the paper: first weights after He et al. 2015. With torch's smaller ones signals fade towards the last
    # layer, and on Wildlife MNIST some runs never leave chance.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 32, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
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
