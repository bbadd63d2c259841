"""Closed forms of the numbers on layers of natural images."""

import pytest
import torch

from cgn.evaluation.imagenet_quality import layer_quality


def test_layers_with_known_numbers() -> None:
    mask = torch.full((2, 1, 4, 4), 0.05)
    mask[:, :, :2] = 0.95  # the upper half
    salient = torch.zeros(2, 1, 4, 4)
    salient[0, :, :, :2] = 1  # the left half of the first image, nothing of the second
    found = layer_quality(
        mask,
        torch.ones(2, 3, 4, 4),
        torch.zeros(2, 3, 4, 4),
        composite_saliency=salient,
        background_saliency=torch.full((2, 1, 4, 4), 0.25),
    )
    assert found.mask_mean == pytest.approx(0.5)
    assert found.mask_binary_share == 1
    assert found.mask_iou == pytest.approx((4 / 12 + 0) / 2)
    assert found.background_saliency == pytest.approx(0.25)
    assert found.reconstruction_l1 == pytest.approx(1)


def test_an_image_without_object_agrees_with_a_mask_without_one() -> None:
    nothing, image = torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4)
    found = layer_quality(nothing, image, image, composite_saliency=nothing, background_saliency=nothing)
    assert found.mask_iou == 1


def test_no_images_have_no_quality() -> None:
    nothing, image = torch.zeros(0, 1, 4, 4), torch.zeros(0, 3, 4, 4)
    with pytest.raises(ValueError, match="undefined on no images"):
        layer_quality(nothing, image, image, composite_saliency=nothing, background_saliency=nothing)
