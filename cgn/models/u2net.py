"""U2-Net and its small form U2-NetP: what is salient in an image. Names of weights are those of the official files.

Source: Qin et al. 2020, "U2-Net: Going deeper with nested U-structure for salient object detection", figures 2 and 5.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cgn.contracts import Images, Masks
from cgn.models.fetched import read_into
from cgn.models.published import Published

Maps = Float[Tensor, "batch _ _ _"]

U2NET = Published("U2-Net", "https://github.com/xuebinqin/U-2-Net (u2net.pth, 176 MB)")
U2NETP = Published("U2-NetP", "https://github.com/xuebinqin/U-2-Net (u2netp.pth, 4.7 MB)")


class U2NetSize(NamedTuple):
    """Channels of U2-Net's stages: of the six that look at ever coarser maps, then of the five that come back."""

    down: tuple[tuple[int, int], ...]  # middle, out
    up: tuple[tuple[int, int], ...]  # from the coarsest


FULL = U2NetSize(
    down=((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512)),
    up=((256, 512), (128, 256), (64, 128), (32, 64), (16, 64)),
)
SMALL = U2NetSize(down=((16, 64),) * 6, up=((16, 64),) * 5)

_HEIGHTS = (7, 6, 5, 4)  # of the blocks of stages 1 to 4; stages 5 and 6 dilate and never pool


class _Convolution(nn.Module):
    """3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
        self.bn_s1: nn.Module = nn.BatchNorm2d(width)

    def forward(self, maps: Maps) -> Maps:
        return torch.relu(self.bn_s1(self.conv_s1(maps)))


class _Block(nn.Module):
    """A residual U-block: a U-Net of `height` levels within one stage.

    From level to level maps are pooled; where `dilated`, they keep their size and convolutions widen instead.
    """

    def __init__(self, channels: int, middle: int, width: int, *, height: int, dilated: bool = False) -> None:
        super().__init__()
        self.height, self.dilated = height, dilated
        self.rebnconvin = _Convolution(channels, width)
        for level in range(1, height + 1):
            entry = width if level == 1 else middle
            bottom = 2 if level == height else 1
            dilation = 2 ** (level - 1) if dilated else bottom
            self.add_module(f"rebnconv{level}", _Convolution(entry, middle, dilation=dilation))
        for level in range(height - 1, 0, -1):
            out = width if level == 1 else middle
            dilation = 2 ** (level - 1) if dilated else 1
            self.add_module(f"rebnconv{level}d", _Convolution(2 * middle, out, dilation=dilation))

    def forward(self, maps: Maps) -> Maps:
        entered: Tensor = self.rebnconvin(maps)
        levels = [self.get_submodule("rebnconv1")(entered)]
        for level in range(2, self.height + 1):
            is_bottom = level == self.height
            below = levels[-1] if self.dilated or is_bottom else _pool(levels[-1])
            levels.append(self.get_submodule(f"rebnconv{level}")(below))
        found: Tensor = levels.pop()
        for level in range(self.height - 1, 0, -1):
            beside = levels.pop()
            found = self.get_submodule(f"rebnconv{level}d")(torch.cat([_like(found, beside), beside], 1))
        return found + entered


class U2Net(nn.Module):
    """Saliency of every pixel: (batch, 3, height, width) to (batch, 1, height, width), each in (0, 1).

    Only the fused map is computed, which is the first of the official network's seven outputs.
    """

    def __init__(self, size: U2NetSize) -> None:
        super().__init__()
        channels = 3
        for stage, (middle, width) in enumerate(size.down, start=1):
            self.add_module(f"stage{stage}", _stage(stage, channels, middle, width))
            channels = width
        beside = [width for _, width in size.down]
        for stage, (middle, width) in zip(range(5, 0, -1), size.up, strict=True):
            self.add_module(f"stage{stage}d", _stage(stage, channels + beside[stage - 1], middle, width))
            channels = width
        sides = [*(width for _, width in reversed(size.up)), beside[-1]]
        for side, width in enumerate(sides, start=1):
            self.add_module(f"side{side}", nn.Conv2d(width, 1, 3, padding=1))
        self.outconv = nn.Conv2d(len(sides), 1, 1)

    def forward(self, images: Images) -> Masks:
        stages: list[Tensor] = []
        maps = images
        for stage in range(1, 7):
            maps = self.get_submodule(f"stage{stage}")(maps if stage == 1 else _pool(maps))
            stages.append(maps)
        sides = [maps]  # from the coarsest
        for stage in range(5, 0, -1):
            beside = stages[stage - 1]
            maps = self.get_submodule(f"stage{stage}d")(torch.cat([_like(maps, beside), beside], 1))
            sides.append(maps)
        logits = [self.get_submodule(f"side{side}")(found) for side, found in enumerate(reversed(sides), start=1)]
        # In float32 whatever autocast says: next to 1, bfloat16 knows nothing between 0.996 and 1.
        return torch.sigmoid(self.outconv(torch.cat([_like(found, logits[0]) for found in logits], 1)).float())


def load_u2net(path: Path, size: U2NetSize, *, sha256_digits: str) -> U2Net:
    """The network with weights in the official names, as they were published; see `for_inference`.

    Raises: InputError where the file is missing, another one, unreadable, or another network's.
    """
    what = U2NETP if size == SMALL else U2NET
    network = U2Net(size)
    read_into(network, path, sha256_digits, what)
    return network


def for_inference(network: U2Net) -> U2Net:
    """The same network, frozen, its batch normalisations folded into the convolutions before them."""
    network.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, _Convolution) and isinstance(module.bn_s1, nn.BatchNorm2d):
            module.conv_s1 = fuse_conv_bn_eval(module.conv_s1, module.bn_s1)
            module.bn_s1 = nn.Identity()
    return network


def _stage(stage: int, channels: int, middle: int, width: int) -> _Block:
    if stage > len(_HEIGHTS):
        return _Block(channels, middle, width, height=4, dilated=True)
    return _Block(channels, middle, width, height=_HEIGHTS[stage - 1])


def _pool(maps: Maps) -> Maps:
    return F.max_pool2d(maps, 2, ceil_mode=True)


def _like(maps: Maps, other: Tensor) -> Maps:
    """The maps at another's height and width.

    # Differs from the repository counterfactual_generative_networks, which aligns corners: so U2-Net's own does today.
    """
    if maps.shape[2:] == other.shape[2:]:
        return maps
    return F.interpolate(maps, size=other.shape[2:], mode="bilinear", align_corners=False)
