"""The independent mechanisms of the CGN for MNIST: a shape network that makes masks, and texture networks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.contracts import Images, Labels, Masks
from cgn.mnist import IMAGE_PX, NUM_CLASSES

_FAINT = 0.5  # what a texture's detail is scaled by at first
_CELL_PX = 8  # what one cell of a canvas becomes
_WINDOW_CELLS = 7  # the side of what is decoded: 42 px without an edge, for an image that begins in any of the first 8
MASK_EPS = 1e-4  # keeps the mask inside (0, 1), where the entropy's gradient is finite


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


def upsampler(inputs: int, width: int, channels: int) -> nn.Sequential:
    """Numbers (batch, inputs) to maps of 32 px. Transposed convolutions: less than half the multiplications of
    upsampling followed by a 3x3 convolution.
    """
    return nn.Sequential(
        nn.Linear(inputs, 4 * width * 16),
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
        self.net = upsampler(latent + NUM_CLASSES, width, 1)
        self.threshold, self.slope = threshold, slope

    def forward(self, noise: Tensor, labels: Labels) -> Masks:
        """Noise (batch, latent) and labels to masks in (0, 1).

        The premask has zero mean and unit variance per image, so that no mask can be all object or all background.
        """
        premask = self.net(torch.cat([noise, self.embed(labels)], dim=1)).float()
        std, mean = torch.std_mean(premask, dim=(1, 2, 3), keepdim=True)
        premask = (premask - mean) / (std + 1e-5)
        return torch.sigmoid(self.slope * (premask - self.threshold)).clamp(MASK_EPS, 1 - MASK_EPS)


class WholeImage(nn.Module):
    """Noise and class to a whole image: what a GAN without mechanisms is."""

    def __init__(self, *, latent: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        self.net = upsampler(latent + NUM_CLASSES, width, 3)

    def forward(self, noise: Tensor, labels: Labels) -> Images:
        """Noise (batch, latent) and labels to images in [-1, 1]."""
        return clamped(self.net(torch.cat([noise, self.embed(labels)], dim=1)).float())


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
    """Noise and class to a texture without shape: a colour, and detail around it from a random place of a canvas.

    Every class has a canvas, a torus of learned features. An image is a window of it, decoded by transposed convolutions
    that leave out what an edge would touch, and every place is as likely as any other. So a canvas can hold structure
    larger than an image (stripes, veins), yet no pixel can be told by where in the image it lies: there is no shape to
    draw. Detail starts faint: a plain colour is the simplest texture, and a data set of plain colours should not have to
    unlearn detail.

    # Differs from the paper: there each texture is made anew from noise, then tiled, shifted and cropped.
    """

    def __init__(self, *, latent: int, width: int, canvas_cells: int) -> None:
        super().__init__()
        self.cells = canvas_cells
        self.embed = nn.Embedding(NUM_CLASSES, NUM_CLASSES)
        self.colour = nn.Linear(latent + NUM_CLASSES, 3)
        self.gain = nn.Parameter(torch.full((NUM_CLASSES, 1, 1, 1), _FAINT))
        self.canvas = nn.Parameter(torch.randn(NUM_CLASSES, canvas_cells, canvas_cells, 4 * width))
        self.upsample = nn.ModuleList(
            [nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 2), nn.ConvTranspose2d(2 * width, width, 4, 2, 2)]
        )
        self.normalise = nn.ModuleList(_ClassNorm(channels) for channels in (4 * width, 2 * width, width))
        self.last = nn.ConvTranspose2d(width, 3, 4, 2, 2)

    def draw_places(self, batch: int, rng: torch.Generator) -> Tensor:
        """Where on the canvas an image lies: int64 (batch, 2) in pixels, uniform."""
        return torch.randint(0, self.cells * _CELL_PX, (batch, 2), generator=rng)

    def forward(self, noise: Tensor, labels: Labels, places: Tensor) -> Images:
        """Noise (batch, latent), labels and places (batch, 2) in pixels to textures in [-1, 1]."""
        colour = self.colour(torch.cat([noise, self.embed(labels)], dim=1))[:, :, None, None]
        maps = self.normalise[0](_windows(self.canvas, labels, places // _CELL_PX, size=_WINDOW_CELLS), labels)
        for upsample, normalise in zip(self.upsample, self.normalise[1:], strict=True):
            maps = normalise(upsample(maps), labels)
        detail = self.last(maps).permute(0, 2, 3, 1)
        images = torch.arange(len(labels))
        detail = _windows(detail, images, places % _CELL_PX, size=IMAGE_PX)
        return clamped(colour.float() + self.gain[labels] * detail.float())


def _windows(tori: Tensor, chosen: Tensor, places: Tensor, *, size: int) -> Tensor:
    """Squares of `size` of the `chosen` tori (number, side, side, channels), as (batch, channels, size, size).

    `places`, int64 (batch, 2), are their top left corners; what leaves at one edge enters at the opposite one.
    """
    steps, side = torch.arange(size), tori.shape[1]
    rows, columns = ((places[:, axis, None] + steps) % side for axis in (0, 1))
    return tori[chosen[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
