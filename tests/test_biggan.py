"""Facts about BigGAN-deep: that it gives what the package's network gives, and what it refuses."""

from pathlib import Path

import pytest
import torch
from pytorch_pretrained_biggan import BigGAN as PackageBigGan
from pytorch_pretrained_biggan.model import GenBlock, SelfAttn
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.errors import InputError
from cgn.models.biggan import (
    SIZES_PX,
    BigGan,
    _statistics,
    biggan_config,
    load_biggan,
    random_biggan,
    truncated_noise,
)
from cgn.rng import stream


def noise(*shape: int, name: str = "noise") -> Tensor:
    return torch.randn(*shape, generator=stream(0, name))


@pytest.fixture(scope="module")
def biggan() -> BigGan:
    """64 px, few channels, random weights, and random statistics at every truncation."""
    network = random_biggan(biggan_config(64, channel_width=8, num_classes=10), 0)
    for number, (name, buffer) in enumerate(network.named_buffers()):
        if name.endswith("running_means"):
            buffer.copy_(noise(*buffer.shape, name=str(number)) * 0.1)
        if name.endswith("running_vars"):
            buffer.copy_(noise(*buffer.shape, name=str(number)).abs() + 0.5)
    attention = next(module for module in network.modules() if isinstance(module, SelfAttn))
    nn.init.constant_(attention.gamma, 0.7)  # else attention does nothing, and its weights learn nothing
    return network


def packages(network: BigGan) -> PackageBigGan:
    """The package's own network with the same weights."""
    theirs = PackageBigGan(biggan_config(64, channel_width=8, num_classes=10))
    theirs.load_state_dict(network.state_dict())
    return theirs.eval()


@pytest.mark.parametrize(("size_px", "millions"), [(128, 50.4), (256, 55.9), (512, 56.2)])
def test_biggan_has_the_published_numbers_of_weights(size_px: int, millions: float) -> None:
    with torch.device("meta"):
        network = PackageBigGan(biggan_config(size_px))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("truncation", [1.0, 0.5, 0.02])
def test_biggan_gives_what_the_package_gives(biggan: BigGan, truncation: float) -> None:
    labels = torch.tensor([3, 9])
    draws = truncated_noise(2, truncation, stream(0))
    with torch.no_grad():
        found = biggan(draws, biggan.embed(labels), truncation)
        expected = packages(biggan)(draws, F.one_hot(labels, 10).float(), truncation)
    assert found.shape == (2, 3, 64, 64)
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-5)


def test_between_two_truncations_the_nearer_statistics_weigh_more(biggan: BigGan) -> None:
    draws, classes = noise(1, 128), biggan.embed(torch.tensor([1]))
    with torch.no_grad():
        low, near, high = (biggan(draws, classes, truncation) for truncation in (0.5, 0.501, 0.52))
        norm = biggan.generator.bn
        mean, _ = _statistics(norm, 0.58)  # 28.999... steps
    assert (near - low).abs().mean() < (near - high).abs().mean() / 5
    assert torch.allclose(mean, norm.running_means[29], atol=1e-6)


def test_gradients_pulled_back_over_several_passes_are_those_of_the_package(biggan: BigGan) -> None:
    theirs = packages(biggan)
    biggan.refresh()
    for pass_ in range(3):
        labels, draws = torch.tensor([pass_]), truncated_noise(1, 0.5, stream(pass_))
        biggan(draws, biggan.embed(labels), 0.5).square().mean().backward()
        theirs(draws, F.one_hot(labels, 10).float(), 0.5).square().mean().backward()
    biggan.pull_back()
    expected = dict(theirs.named_parameters())
    for name, parameter in biggan.named_parameters():
        assert parameter.grad is not None, name
        assert torch.allclose(
            parameter.grad, expected[name].grad, atol=1e-6 + 1e-4 * expected[name].grad.abs().max()
        ), name
    biggan.zero_grad()


def test_refresh_follows_weights_that_changed(biggan: BigGan) -> None:
    before = {name: tensor.clone() for name, tensor in biggan.state_dict().items()}
    draws, classes = noise(1, 128), biggan.embed(torch.tensor([1]))
    with torch.no_grad():
        biggan.generator.conv_to_rgb.weight_orig[:3] *= -1
        biggan.refresh()
        expected = packages(biggan)(draws, F.one_hot(torch.tensor([1]), 10).float(), 1.0)
        assert torch.allclose(biggan(draws, classes, 1.0), expected, atol=1e-5)
    biggan.load_state_dict(before)
    biggan.refresh()


def test_truncated_noise_stays_within_two_truncations_and_depends_on_the_stream_alone() -> None:
    draws = truncated_noise(1000, 0.5, stream(0))
    assert draws.abs().max() <= 1
    assert draws.std().item() == pytest.approx(0.5 * 0.8796, abs=0.003)  # of a normal law cut at two deviations
    assert torch.equal(draws, truncated_noise(1000, 0.5, stream(0)))


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.5, float("nan")])
def test_a_truncation_outside_0_to_1_is_refused(biggan: BigGan, truncation: float) -> None:
    with pytest.raises(InputError, match=r"truncation: found .*, expected a number above 0 and at most 1"):
        biggan(noise(1, 128), biggan.embed(torch.tensor([0])), truncation)


def test_recomputing_blocks_changes_no_gradient(biggan: BigGan) -> None:
    gradients = []
    for recompute in (False, True):
        biggan.recompute = recompute
        biggan.refresh()
        biggan(noise(1, 128), biggan.embed(torch.tensor([1])), 1.0).square().mean().backward()
        biggan.pull_back()
        gradients.append({name: parameter.grad.clone() for name, parameter in biggan.named_parameters()})
        biggan.zero_grad()
    biggan.recompute = False
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())


def test_biggan_weights_of_the_true_shapes_read_back(tmp_path: Path) -> None:
    saved = BigGan(biggan_config(128)).state_dict()
    path = tmp_path / "pytorch_model.bin"
    torch.save(saved, path)
    loaded = load_biggan(path, 128, sha256_digits="")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.state_dict().items())
    with pytest.raises(InputError, match=r"biggan-deep-256 weights: .* is another network's"):
        load_biggan(path, 256, sha256_digits="")


def test_loaded_and_moved_weights_are_divided_anew(biggan: BigGan) -> None:
    other = random_biggan(biggan_config(64, channel_width=8, num_classes=10), 1)
    other.load_state_dict(biggan.state_dict())
    moved = BigGan(biggan_config(64, channel_width=8, num_classes=10)).double()
    draws, classes = noise(1, 128), biggan.embed(torch.tensor([1]))
    with torch.no_grad():
        assert torch.equal(other(draws, classes, 1.0), biggan(draws, classes, 1.0))
    assert moved.generator.conv_to_rgb.weight.dtype == torch.float64


def test_maps_stay_in_bfloat16_under_autocast(biggan: BigGan) -> None:
    seen: list[torch.dtype] = []
    hooks = [
        block.conv_3.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
        for block in biggan.generator.layers
        if isinstance(block, GenBlock)
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        biggan(noise(1, 128), biggan.embed(torch.tensor([1])), 1.0)
    for hook in hooks:
        hook.remove()
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == 4


def test_every_size_makes_images_of_its_size() -> None:
    assert SIZES_PX == (64, 128, 256, 512)
    for size_px in SIZES_PX[:2]:
        network = random_biggan(biggan_config(size_px, channel_width=8, num_classes=2), 0)
        with torch.no_grad():
            images = network(noise(1, 128), network.embed(torch.tensor([1])), 1.0)
        assert images.shape == (1, 3, size_px, size_px)
        assert images.isfinite().all()
