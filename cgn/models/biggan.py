"""BigGAN-deep: the modules and configurations of `pytorch_pretrained_biggan`, run without what they compute in vain.

Source: Brock et al. 2019, appendix B, figure 16.
"""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pytorch_pretrained_biggan import BigGAN as PackageBigGan
from pytorch_pretrained_biggan import BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.utils.checkpoint import checkpoint

from cgn.contracts import Images, Labels
from cgn.errors import InputError
from cgn.models.published import Published, fill, read_published
from cgn.rng import stream
from cgn.training import seeded

Noise = Float[Tensor, "batch _"]
Maps = Float[Tensor, "batch _ _ _"]

NUM_CLASSES = 1000
_TRUNCATION_STEPS = 50  # statistics are known at 0, 0.02, ..., 1
_STAY, _GROW = False, True
# Per block: whether it doubles height and width, and its channels before and after, in channel widths.
_START = [(_STAY, 16, 16), (_GROW, 16, 16), (_STAY, 16, 16), (_GROW, 16, 8), (_STAY, 8, 8)]
_END = [(_GROW, 8, 4), (_STAY, 4, 4), (_GROW, 4, 2), (_STAY, 2, 2), (_GROW, 2, 1)]
_BLOCKS = {
    64: [(_GROW, 16, 8), (_GROW, 8, 4), (_GROW, 4, 2), (_GROW, 2, 1)],
    128: [*_START, *_END],
    256: [*_START, (_GROW, 8, 8), (_STAY, 8, 8), *_END],
    512: [*_START, (_GROW, 8, 8), (_STAY, 8, 8), *_END, (_STAY, 1, 1), (_GROW, 1, 1)],
}
_SETTLING_ITERATIONS = 10  # until random weights' norms are near enough for maps to stay of one size
_ATTENTION_BEFORE = {64: 2, 128: 8, 256: 8, 512: 8}
SIZES_PX = tuple(_BLOCKS)


def biggan_config(size_px: int, *, channel_width: int = 128, num_classes: int = NUM_CLASSES) -> BigGANConfig:
    """The package's configuration of a size; 64 px is ours, small enough for tests, the others are the published ones."""
    return BigGANConfig(
        output_dim=size_px,
        channel_width=channel_width,
        num_classes=num_classes,
        layers=_BLOCKS[size_px],
        attention_layer_position=_ATTENTION_BEFORE[size_px],
        n_stats=_TRUNCATION_STEPS + 1,
    )


def truncated_noise(num: int, truncation: float, rng: torch.Generator, *, noise_dim: int = 128) -> Noise:
    """Normal draws from [-2, 2], times the truncation: (num, noise_dim).

    Source: Brock et al. 2019, section 3.1; the limit of 2 is that of the published networks.
    """
    return truncation * nn.init.trunc_normal_(torch.empty(num, noise_dim), a=-2.0, b=2.0, generator=rng)


class BigGan(nn.Module):
    """A conditional generator of images; its parameters and buffers have the names of the package's network.

    What it gives is what the package's network gives, except between two known truncations: see `_statistics`.
    Four things are done once instead of often, or not at all: weights are divided by their spectral norm when
    `refresh` is called and not in every pass, normalisation of maps is one multiplication and one addition, only the
    three colours of the last convolution's channels are computed, and a class is a row and no one-hot product.
    """

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.noise_dim: int = config.z_dim
        self.num_classes: int = config.num_classes
        # Blocks once more in the backward pass, which saves their memory and costs a third of the time.
        self.recompute = False
        network = PackageBigGan(config)
        self.embeddings = network.embeddings
        self.generator = network.generator
        nn.init.ones_(self.generator.bn.weight)  # the package leaves these two as memory happens to be
        nn.init.zeros_(self.generator.bn.bias)
        self._norms = [(module, norm) for module in self.modules() if (norm := _taken_off(module)) is not None]
        self.refresh()
        self.register_load_state_dict_post_hook(lambda *_: self.refresh())

    def _apply(self, fn: Any, recurse: bool = True) -> "BigGan":
        """As of any module: what `to` and its like do."""
        super()._apply(fn, recurse)
        self.refresh()
        return self

    def refresh(self, *, iterate: bool = False) -> None:
        """Divide weights by their spectral norms, as they are now and where they lie now.

        Done by itself after weights were loaded or moved; to be called after they were updated. `iterate` follows changed
        weights by one power iteration. Gradients of passes from here on collect at the divided weights, until `pull_back`.
        """
        self._divided = []
        for module, norm in self._norms:
            divided = norm.compute_weight(module, do_power_iteration=iterate)
            leaf = divided.detach().requires_grad_(divided.requires_grad)
            module.weight = leaf
            self._divided.append((divided, leaf))

    def pull_back(self) -> None:
        """Add to the parameters' gradients what collected at the divided weights since `refresh`."""
        reached = [(divided, leaf.grad) for divided, leaf in self._divided if leaf.grad is not None]
        torch.autograd.backward([divided for divided, _ in reached], [gradient for _, gradient in reached])

    def embed(self, labels: Labels) -> Noise:
        """The vectors of classes: (batch, noise). A mixture of classes is the mixture of their vectors."""
        vectors: Tensor = self.embeddings.weight
        return vectors.t()[labels]

    def forward(self, noise: Noise, classes: Noise, truncation: float) -> Images:
        """Images in (-1, 1) of noise and class vectors (`embed`); `truncation` chooses the statistics of normalisation.

        Raises: InputError where the truncation is not in (0, 1].
        """
        if not 0 < truncation <= 1:
            raise InputError(f"truncation: found {truncation}, expected a number above 0 and at most 1")
        condition = torch.cat([noise, classes], 1)
        generator = self.generator
        maps = generator.gen_z(condition).view(len(condition), 4, 4, -1).permute(0, 3, 1, 2)
        for layer in generator.layers:
            if isinstance(layer, SelfAttn):
                maps = layer(maps).to(maps.dtype)  # its float32 factor would widen every map after it
            elif self.recompute and torch.is_grad_enabled():
                maps = checkpoint(_block, layer, maps, condition, truncation, use_reentrant=False)
            else:
                maps = _block(layer, maps, condition, truncation)
        maps = torch.relu(_normalised(generator.bn, maps, condition, truncation))
        return torch.tanh(_colours(generator.conv_to_rgb, maps))


def random_biggan(config: BigGANConfig, seed: int) -> BigGan:
    """An untrained network, its weights' norms settled: for timing and tests, never for a generator that counts."""
    network = seeded(stream(seed, "random_biggan").initial_seed(), lambda: BigGan(config))
    for _ in range(_SETTLING_ITERATIONS):
        network.refresh(iterate=True)
    return network


def load_biggan(path: Path, size_px: int, *, sha256_digits: str) -> BigGan:
    """The published network of a size, from the package's `pytorch_model.bin` or a .safetensors file.

    Raises: InputError where the file is missing, another one, unreadable, or another network's.
    """
    name = f"biggan-deep-{size_px}"
    url = f"https://s3.amazonaws.com/models.huggingface.co/biggan/{name}-pytorch_model.bin"
    what = Published(name, url)
    tensors = read_published(path, what, sha256_digits=sha256_digits)
    network = BigGan(biggan_config(size_px))
    fill(network, tensors, path, what)
    return network


def _block(block: GenBlock, maps: Maps, condition: Noise, truncation: float) -> Maps:
    """One residual block: narrow, twice 3x3, wide again; it may double the size and drop channels."""
    found = block.conv_0(torch.relu(_normalised(block.bn_0, maps, condition, truncation)))
    found = torch.relu(_normalised(block.bn_1, found, condition, truncation))
    if block.up_sample:
        found = _doubled(found)
    found = torch.relu(_normalised(block.bn_2, block.conv_1(found), condition, truncation))
    found = torch.relu(_normalised(block.bn_3, block.conv_2(found), condition, truncation))
    kept = maps[:, : maps.shape[1] // 2] if block.drop_channels else maps
    if block.up_sample:
        kept = _doubled(kept)
    wide: Tensor = block.conv_3(found)
    return wide + kept


def _doubled(maps: Maps) -> Maps:
    """Every pixel twice in height and width; unlike torch's resizing, in the maps' own type under autocast on a GPU too."""
    batch, channels, height, width = maps.shape
    wide = maps[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
    return wide.reshape(batch, channels, 2 * height, 2 * width)


def _normalised(norm: BigGANBatchNorm, maps: Maps, condition: Noise, truncation: float) -> Maps:
    """Maps less their known mean, over their known deviation, then scaled and moved as the condition says."""
    mean, variance = _statistics(norm, truncation)
    inverse = torch.rsqrt(variance + norm.eps)
    if norm.conditional:
        scale = (1 + norm.scale(condition)) * inverse
        offset = norm.offset(condition) - mean * scale
    else:
        scale = (norm.weight * inverse)[None]
        offset = norm.bias - mean * scale
    # In the maps' own type, for the same reason as above.
    scale, offset = scale.to(maps.dtype), offset.to(maps.dtype)
    return torch.addcmul(offset[:, :, None, None], maps, scale[:, :, None, None])


def _statistics(norm: BigGANBatchNorm, truncation: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of a normalisation's channels at a truncation.

    # Differs from pytorch_pretrained_biggan: between two known truncations it weights the nearer one less, and a
    # truncation such as 0.58, which is 28.999... steps, gets the statistics of 0.56. Here the nearer one weighs more.
    """
    place = truncation * _TRUNCATION_STEPS
    below = min(math.floor(place), _TRUNCATION_STEPS - 1)
    share = place - below
    means, variances = norm.running_means, norm.running_vars
    return torch.lerp(means[below], means[below + 1], share), torch.lerp(variances[below], variances[below + 1], share)


def _colours(convolution: nn.Conv2d, maps: Maps) -> Images:
    """The first three of a convolution's channels; the published networks have and ignore 125 more."""
    assert convolution.bias is not None
    return F.conv2d(maps, convolution.weight[:3], convolution.bias[:3], padding=1)


def _taken_off(module: nn.Module) -> SpectralNorm | None:
    """A module's spectral normalisation, which from now on does not run before every pass."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm):
            del module._forward_pre_hooks[key]
            return hook
    return None
