"""Closed forms of the losses, and whom their gradients reach."""

import math

import pytest
import torch
from torch import Tensor

from cgn.losses.adversarial import (
    discriminator_hinge,
    discriminator_least_squares,
    generator_hinge,
    generator_least_squares,
)
from cgn.losses.mask import binary_entropy, border_mean, similarity
from cgn.losses.perceptual import gram_matrix, style_distance
from cgn.losses.ssim import structural_similarity
from cgn.rng import stream


@pytest.mark.parametrize(
    ("real", "fake", "hinge", "least_squares"),
    [
        ([1.0, 2.0], [-1.0, -3.0], 0.0, (0.5 + 5.0) / 2),
        ([0.0, 0.0], [0.0, 0.0], 2.0, 0.5),
        ([1.0, 1.0], [0.0, 0.0], 1.0, 0.0),
        ([-1.0, 3.0], [1.0, -1.0], 2.0, (4.0 + 1.0) / 2),
    ],
)
def test_discriminator_losses_are_their_formulas(
    real: list[float], fake: list[float], hinge: float, least_squares: float
) -> None:
    assert discriminator_hinge(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(hinge)
    assert discriminator_least_squares(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(least_squares)


def test_generator_losses_are_their_formulas() -> None:
    fake = torch.tensor([0.5, -1.5])
    assert generator_hinge(fake).item() == pytest.approx(0.5)
    assert generator_least_squares(fake).item() == pytest.approx((0.25 + 6.25) / 2)


@pytest.mark.parametrize("loss", [generator_hinge, generator_least_squares])
def test_a_generator_is_pushed_towards_higher_scores(loss: object) -> None:
    fake = torch.tensor([0.2, -0.4], requires_grad=True)
    loss(fake).backward()  # type: ignore[operator]
    assert (fake.grad < 0).all()  # type: ignore[operator]


@pytest.mark.parametrize("loss", [discriminator_hinge, discriminator_least_squares])
def test_a_discriminator_is_pushed_to_part_real_from_fake(loss: object) -> None:
    real, fake = (torch.tensor([0.3, 0.4], requires_grad=True) for _ in range(2))
    loss(real, fake).backward()  # type: ignore[operator]
    assert (real.grad < 0).all()  # type: ignore[operator]
    assert (fake.grad > 0).all()  # type: ignore[operator]


def constant_mask(value: float) -> Tensor:
    return torch.full((2, 1, 8, 8), value, requires_grad=True)


@pytest.mark.parametrize("value", [0.5, 0.1, 0.9, 1e-4, 1 - 1e-4])
def test_binary_entropy_is_that_of_a_coin(value: float) -> None:
    expected = -value * math.log(value) - (1 - value) * math.log(1 - value)
    assert binary_entropy(constant_mask(value)).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("value", "sign"), [(0.4, 1), (0.6, -1), (1e-4, 1), (1 - 1e-4, -1)])
def test_binary_entropy_pushes_every_pixel_to_the_nearer_end(value: float, sign: int) -> None:
    mask = constant_mask(value)
    binary_entropy(mask).backward()
    assert mask.grad is not None
    assert mask.grad.isfinite().all()
    assert (mask.grad * sign > 0).all()


def test_border_mean_is_the_mean_of_the_frame_alone() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 3:5, 3:5] = 1
    assert border_mean(mask).item() == 0
    mask[0, :, 0, :] = 0.5
    assert border_mean(mask).item() == pytest.approx(8 * 0.5 / (2 * (64 - 4)))
    assert border_mean(torch.ones(1, 1, 4, 4), border_px=1).item() == 1


def test_the_gradient_of_border_mean_reaches_the_frame_alone() -> None:
    mask = constant_mask(0.5)
    border_mean(mask, border_px=2).backward()
    assert mask.grad is not None
    assert (mask.grad[..., 2:-2, 2:-2] == 0).all()
    assert (mask.grad[..., :2, :] > 0).all()


def test_a_gram_matrix_holds_the_mean_products_of_channels() -> None:
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, -1.0]]]])  # (1, 2, 1, 2)
    expected = torch.tensor([[[10.0, -1.0], [-1.0, 5.0]]]) / 4  # divided by channels x places
    assert torch.allclose(gram_matrix(features), expected)


def test_style_does_not_see_where_a_feature_is() -> None:
    features = torch.randn(2, 5, 4, 4, generator=stream(0))
    order = torch.randperm(16, generator=stream(1))
    moved = features.flatten(2)[..., order].reshape(features.shape)
    assert style_distance(features, moved).item() == pytest.approx(0, abs=1e-6)
    assert style_distance(features, features.flip(1)).item() > 0.01


def test_style_distance_is_the_mean_absolute_difference() -> None:
    ones, twos = torch.ones(3, 2, 4, 4), torch.full((3, 2, 4, 4), 2.0)
    assert style_distance(twos, ones).item() == pytest.approx((4 - 1) / 2)


def test_the_gradient_of_style_reaches_what_is_found() -> None:
    found = torch.full((1, 2, 4, 4), 2.0, requires_grad=True)
    style_distance(found, torch.ones(1, 2, 4, 4)).backward()
    assert (found.grad > 0).all()  # type: ignore[operator]


# ---- masks of one class that look alike


def test_similarity_is_1_for_equal_masks_and_0_from_the_distance_on() -> None:
    masks = torch.zeros(2, 1, 4, 4)
    labels = torch.tensor([3, 3])
    assert similarity(masks, labels, distance=0.25).item() == 1
    masks[1, 0, 0, 0] = 1.0  # one pixel of 16 differs: a quarter of the distance
    assert similarity(masks, labels, distance=0.25).item() == pytest.approx(0.75)
    masks[1, 0, 0] = 1.0
    assert similarity(masks, labels, distance=0.25).item() == 0


def test_similarity_compares_masks_of_one_class_alone() -> None:
    masks = torch.cat([torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)])
    assert similarity(masks, torch.tensor([0, 0, 1]), distance=0.1).item() == 0  # 0 and 2 are equal, of two classes
    assert similarity(masks, torch.tensor([0, 1, 0]), distance=0.1).item() == 1
    assert similarity(masks, torch.tensor([0, 1, 2]), distance=0.1).item() == 0  # no pair at all


def test_the_gradient_of_similarity_drives_masks_apart() -> None:
    masks = torch.tensor([0.4, 0.6]).reshape(2, 1, 1, 1).requires_grad_()
    similarity(masks, torch.tensor([5, 5]), distance=0.5).backward()
    assert masks.grad is not None
    assert masks.grad[0] > 0 > masks.grad[1]


def test_structural_similarity_is_one_for_equal_images_and_its_formula_for_flat_ones() -> None:
    images = torch.rand(2, 3, 32, 32, generator=stream(0)) * 2 - 1
    assert structural_similarity(images, images).item() == pytest.approx(1)
    assert structural_similarity(images, images.flip(0)).item() < 0.2
    flat, other = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), -0.25)
    c1 = (0.01 * 2) ** 2
    expected = (2 * 0.5 * -0.25 + c1) / (0.5**2 + 0.25**2 + c1)
    assert structural_similarity(flat, other).item() == pytest.approx(expected, rel=1e-3)
