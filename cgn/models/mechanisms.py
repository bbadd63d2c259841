"""The independent mechanisms of the CGN for MNIST: a shape network that makes masks, and texture networks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.contracts import Images, Labels, Masks
from cgn.mnist import NUM_CLASSES

_FAINT = 0.5  # what a texture's detail is scaled by at first
_SEED_PX = 4  # the side of the noise map that a texture grows from
_MASK_EPS = 1e-4  # keeps the mask inside (0, 1), where the entropy's gradient is finite


def cyclic_shift(images: Images, shifts: Tensor) -> Images:
    """Each image rolled down and right by its own row of `shifts`, int64 (batch, 2) in pixels, wrapping around.

    This is the texture-shuffling layer: it leaves local statistics alone and destroys any shape that the texture
    network might try to draw. Source: Sauer & Geiger 2021, appendix C; their code tiles 2x2 and crops, which is this.
    """
    shifted: Tensor = _CyclicShift.apply(images, shifts)
    return shifted


class _CyclicShift(torch.autograd.Function):
    """The gradient of a shift is the shift back: a gather, where autograd would scatter and add."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, shifts: Tensor) -> Tensor:
        ctx.save_for_backward(shifts)
        return _roll_each(images, shifts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (shifts,) = ctx.saved_tensors
        return _roll_each(gradients[0], -shifts), None


def _roll_each(images: Tensor, shifts: Tensor) -> Tensor:
    batch, _, height, width = images.shape
    rows = (torch.arange(height)[None] - shifts[:, :1]) % height
    columns = (torch.arange(width)[None] - shifts[:, 1:]) % width
    image = torch.arange(batch)[:, None, None]
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def clamped(values: Tensor) -> Tensor:
    """Values clamped to [-1, 1]; from outside, only a gradient that leads back in passes.

    Pure colours lie at the ends of the range. There tanh's gradient vanishes, Adam turns what is left of it into full
    steps, and a colour wanders off until a class has lost it for good.
    """
    inside: Tensor = _Clamp.apply(values)
    return inside


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        (gradient,) = gradients
        leads_out = ((values >= 1) & (gradient < 0)) | ((values <= -1) & (gradient > 0))
        return gradient.masked_fill(leads_out, 0)


def _upsampler(latent: int, width: int, channels: int) -> nn.Sequential:
    """Latent and class embedding to a 32 px map. Transposed convolutions: less than half the multiplications of
    upsampling followed by a 3x3 convolution.
    """
    return nn.Sequential(
        nn.Linear(latent + NUM_CLASSES, 4 * width * 16),
        nn.Unflatten(1, (4 * width, 4, 4)),
        nn.BatchNorm2d(4 * width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width, channels, 4, 2, 1),
    )


class ShapeMechanism(nn.Module):
    """Noise and class to a mask."""

    def __init__(self, *, latent: int, width: int, threshold: float = 0.75, slope: float = 4.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        self.net = _upsampler(latent, width, 1)
        self.threshold, self.slope = threshold, slope

    def forward(self, noise: Tensor, labels: Labels) -> Masks:
        """Noise (batch, latent) and labels to masks in (0, 1).

        The premask has zero mean and unit variance per image, so that no mask can be all object or all background.
        """
        premask = self.net(torch.cat([noise, self.embed(labels)], dim=1)).float()
        std, mean = torch.std_mean(premask, dim=(1, 2, 3), keepdim=True)
        premask = (premask - mean) / (std + 1e-5)
        return torch.sigmoid(self.slope * (premask - self.threshold)).clamp(_MASK_EPS, 1 - _MASK_EPS)


class WholeImage(nn.Module):
    """Noise and class to a whole image: what a GAN without mechanisms is."""

    def __init__(self, *, latent: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        self.net = _upsampler(latent, width, 3)

    def forward(self, noise: Tensor, labels: Labels) -> Images:
        """Noise (batch, latent) and labels to images in [-1, 1]."""
        return clamped(self.net(torch.cat([noise, self.embed(labels)], dim=1)).float())


class _CircularUpsample(nn.Module):
    """Twice the size by a 4x4 transposed convolution on a torus: what leaves at one edge enters at the opposite one."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        wide: Tensor = self.convolution(F.pad(maps, (1, 1, 1, 1), mode="circular"))
        return wide[..., 2:-2, 2:-2]


class _ClassNorm(nn.Module):
    """Batch normalisation, then every class's own scale and offset, then ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(NUM_CLASSES, channels)
        self.offset = nn.Embedding(NUM_CLASSES, channels)
        nn.init.normal_(self.scale.weight, mean=1.0, std=0.1)
        nn.init.normal_(self.offset.weight, std=0.1)

    def forward(self, maps: Tensor, labels: Labels) -> Tensor:
        scale, offset = (table(labels)[:, :, None, None].to(maps.dtype) for table in (self.scale, self.offset))
        return F.relu(self.normalise(maps) * scale + offset)


class TextureMechanism(nn.Module):
    """Noise and class to a texture without shape: a colour and detail around it, shuffled by a random cyclic shift.

    The detail grows from a map of independent noise by convolutions on a torus, so what it looks like is the same
    everywhere and the shift leaves no seam; classes differ in how channels are scaled. It starts faint: a plain colour
    is the simplest texture, and a data set of plain colours should not have to unlearn detail.
    """

    def __init__(self, *, latent: int, width: int) -> None:
        super().__init__()
        self.latent = latent
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        self.colour = nn.Linear(latent + NUM_CLASSES, 3)
        self.gain = nn.Parameter(torch.full((NUM_CLASSES, 1, 1, 1), _FAINT))
        self.first = nn.Conv2d(latent, 4 * width, 1)
        self.upsample = nn.ModuleList([_CircularUpsample(4 * width, 2 * width), _CircularUpsample(2 * width, width)])
        self.normalise = nn.ModuleList(_ClassNorm(channels) for channels in (4 * width, 2 * width, width))
        self.last = _CircularUpsample(width, 3)

    @staticmethod
    def noise_size(latent: int) -> int:
        """How many numbers a texture is made of: `latent` for its colour, as many at every place of a 4x4 map."""
        return latent * (1 + _SEED_PX**2)

    def forward(self, noise: Tensor, labels: Labels, shifts: Tensor) -> Images:
        """Noise (batch, noise_size), labels and shifts (batch, 2) in pixels to textures in [-1, 1]."""
        colour = self.colour(torch.cat([noise[:, : self.latent], self.embed(labels)], dim=1))[:, :, None, None]
        maps = self.first(noise[:, self.latent :].unflatten(1, (self.latent, _SEED_PX, _SEED_PX)))
        maps = self.normalise[0](maps, labels)
        for upsample, normalise in zip(self.upsample, self.normalise[1:], strict=True):
            maps = normalise(upsample(maps), labels)
        detail = self.last(maps)
        return cyclic_shift(clamped(colour.float() + self.gain[labels] * detail.float()), shifts)
