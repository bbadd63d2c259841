"""Closed forms of the losses, and whom their gradients reach."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.texture_patches import indexed_patch_grid, unfolded_patch_grid
from cgn.losses.adversarial import (
    discriminator_hinge,
    discriminator_least_squares,
    generator_hinge,
    generator_least_squares,
)
from cgn.losses.mask import binary_entropy, border_mean, saliency, similarity, size_hinge
from cgn.losses.perceptual import gram_matrix, perceptual_distance, style_distance
from cgn.losses.ssim import structural_similarity
from cgn.losses.texture import patch_grid
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


@pytest.mark.parametrize(("value", "expected", "sign"), [(0.05, 0.05, -1), (0.5, 0.0, 0), (0.98, 0.08, 1)])
def test_size_hinge_is_the_distance_from_the_interval_and_pushes_into_it(
    value: float, expected: float, sign: int
) -> None:
    mask = constant_mask(value)
    loss = size_hinge(mask, low=0.1, high=0.9)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert mask.grad is not None
    assert (mask.grad.sign() == sign).all()


def test_size_hinge_looks_at_every_image_on_its_own() -> None:
    masks = torch.cat([torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)])  # their mean would be within
    assert size_hinge(masks, low=0.1, high=0.9).item() == pytest.approx(0.1)


def test_saliency_is_a_mean_and_pushes_every_pixel_down() -> None:
    mask = constant_mask(0.3)
    loss = saliency(mask)
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert mask.grad is not None
    assert (mask.grad == 1 / mask.numel()).all()


# ---- the patches that a texture is compared with


def blob(num: int, size_px: int) -> Tensor:
    """Soft discs beside the centre, without two places of one value."""
    line = torch.linspace(-1, 1, size_px)
    distance = ((line[:, None] - 0.21) ** 2 + (line - 0.13) ** 2 * 1.7).sqrt()
    return torch.sigmoid(6 * (0.5 - distance)).expand(num, 1, -1, -1)


def test_a_patch_grid_holds_patches_of_the_places_with_most_object_and_no_others() -> None:
    place = torch.arange(128.0 * 128).view(128, 128)
    images = torch.stack([place // 128, place % 128, place * 0])[None]  # row and column as colours
    mask = blob(1, 128)
    pixels = patch_grid(images, mask, [stream(0)], working_px=128, patch_px=15, num_candidates=20, grid=6)
    native = functional.interpolate(pixels, (90, 90), mode="nearest-exact")  # near enough to the grid before resizing
    corners = native[0, :2, 7::15, 7::15].flatten(1).round()  # the middle of each patch
    means = functional.avg_pool2d(mask, 15, stride=1)[0, 0]
    threshold = means.flatten().sort().values[-60]  # resizing moves a middle by a pixel or so
    rows, columns = corners.long() - 7
    assert (means[rows.clamp(0, 113), columns.clamp(0, 113)] >= threshold).all()


def test_a_patch_grid_has_the_distribution_of_the_one_that_unfolds_every_patch() -> None:
    images, mask = torch.randn(2, 3, 64, 64, generator=stream(0)), blob(2, 64)
    mine = torch.stack([indexed_patch_grid(images, mask, stream(draw)) for draw in range(50)])
    theirs = torch.stack([unfolded_patch_grid(images, mask, stream(draw, "theirs")) for draw in range(50)])
    assert mine.shape == theirs.shape == (50, 2, 3, 64, 64)
    error = ((mine.var(0) + theirs.var(0)) / 50).sqrt()
    scores = (mine.mean(0) - theirs.mean(0)) / error
    assert scores.pow(2).mean().item() == pytest.approx(1, abs=0.2)  # squares of standard scores
    assert (mine.std(0) / theirs.std(0)).mean().item() == pytest.approx(1, abs=0.05)


def test_a_patch_grid_depends_on_the_stream_alone_and_passes_no_gradient() -> None:
    images = torch.randn(1, 3, 64, 64, generator=stream(0), requires_grad=True)
    mask = blob(1, 64).clone().requires_grad_()
    grid = indexed_patch_grid(images, mask, stream(1))
    assert torch.equal(grid, indexed_patch_grid(images, mask, stream(1)))
    assert not torch.equal(grid, indexed_patch_grid(images, mask, stream(2)))
    assert not grid.requires_grad


def test_more_candidates_than_places_are_refused() -> None:
    sizes = {"patch_px": 15, "num_candidates": 100, "grid": 6}
    with pytest.raises(ValueError, match="found 100 candidates among 4 x 4 places, expected at most as many"):
        patch_grid(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), [stream(0)], working_px=18, **sizes)
    with pytest.raises(ValueError, match="among 0 x 0 places"):
        patch_grid(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), [stream(0)], working_px=14, **sizes)


def test_among_equal_places_any_may_come_first() -> None:
    """A hard mask has thousands of windows that are object alone."""
    place = torch.arange(128.0 * 128).view(128, 128)
    images = torch.stack([place // 128, place % 128, place * 0])[None]
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 24:104, 24:104] = 1
    sizes = {"working_px": 128, "patch_px": 15, "num_candidates": 10, "grid": 2}
    grids = torch.stack([patch_grid(images, mask, [stream(draw)], **sizes) for draw in range(40)])
    rows, columns = grids[:, 0, 0].flatten(1), grids[:, 0, 1].flatten(1)
    assert rows.mean().item() == pytest.approx(63.5, abs=6)  # the middle of the object
    assert columns.mean().item() == pytest.approx(63.5, abs=6)
    assert rows.mean(1).std() > 5


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


def test_perceptual_distance_weighs_features_and_their_gram_matrices_stage_by_stage() -> None:
    ones, twos = torch.ones(3, 2, 4, 4), torch.full((3, 2, 4, 4), 2.0)
    found, target = [twos, twos, twos], [ones, ones, ones]
    # A stage's features differ by 1, its Gram matrices by (4 - 1) / 2.
    assert perceptual_distance(found, target, content=[3.0, 5.0, 0.0], style=[0.0, 7.0, 11.0]).item() == pytest.approx(
        3 + 5 + (7 + 11) * 1.5
    )
    assert perceptual_distance(found, target, content=[0.0] * 3, style=[0.0] * 3).item() == 0


@pytest.mark.parametrize("weights", [([2.0], [0.0]), ([0.0], [2.0])])
def test_the_gradient_of_perceptual_distance_reaches_what_is_found(weights: tuple[list[float], list[float]]) -> None:
    found = torch.full((1, 2, 4, 4), 2.0, requires_grad=True)
    perceptual_distance([found], [torch.ones(1, 2, 4, 4)], content=weights[0], style=weights[1]).backward()
    assert found.grad is not None
    assert (found.grad > 0).all()


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
