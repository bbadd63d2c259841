"""Masks that have stopped being shapes are told from masks that have not."""

import pytest
import torch
from tiny_generators import PARAMS, fast, trained
from torch import Tensor

from cgn.config import CollapseConfig
from cgn.contracts import Labels
from cgn.generators.collapse import CollapseError, check_collapse, mask_statistics
from cgn.rng import stream


def shapes(kind: str = "sound") -> tuple[Tensor, Labels]:
    """Masks of ten classes, ten each, that are sound or broken in one way."""
    labels = torch.arange(10).repeat(10)
    masks = torch.zeros(100, 1, 32, 32)
    for number, label in enumerate(labels.tolist()):
        place = 0 if kind == "alike" else number // 10 % 3
        top = 4 + place + (0 if kind == "disc" else 2 * label)
        masks[number, :, top : top + 5, 8 + place : 24 + place] = 1
    if kind == "border":
        masks[..., :3, :] = 1
    if kind == "grey":
        masks = masks * 0.5 + 0.1
    if kind == "inverted":
        masks[labels == 4] = 1 - masks[labels == 4]
    if kind == "noise":
        masks[labels == 4] = (torch.rand(10, 1, 32, 32, generator=stream(0, "noise")) < 0.2).float()
    return masks.clamp(1e-4, 1 - 1e-4), labels


LIMITS = CollapseConfig(
    after_share=0.5,
    mask_mean=[0.03, 0.5],
    min_binary_share=0.5,
    max_border_mean=0.25,
    min_class_diversity=0.01,
    min_class_distance=0.02,
    max_class_roughness=0.12,
)


def test_sound_masks_have_not_collapsed() -> None:
    check_collapse(mask_statistics(*shapes()), LIMITS)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("grey", "binary pixels 0.000, expected at least 0.5"),
        ("border", "border mask of one class 0.2[0-9]+, expected at most 0.25"),
        ("inverted", "border mask of one class 1.000, expected at most 0.25"),
        ("alike", "masks of one class differ by 0.0000, expected at least 0.01: all look alike"),
        (
            "noise",
            "neighbouring pixels of one class's masks differ by 0.3[0-9]+, expected at most 0.12: noise in place of strokes",
        ),
        ("disc", "mean masks of the classes differ by 0.0000, expected at least 0.02: a disc in place of digits"),
    ],
)
def test_each_way_to_collapse_is_named(kind: str, says: str) -> None:
    with pytest.raises(CollapseError, match=f"^the generator has collapsed: {says}$"):
        check_collapse(mask_statistics(*shapes(kind)), LIMITS)


@pytest.mark.parametrize("mask_mean", [[0.1, 0.5], [0.0, 0.05]])
def test_masks_that_are_too_small_or_too_large_have_collapsed(mask_mean: list[float]) -> None:
    says = f"^the generator has collapsed: mask mean 0.078, expected {mask_mean[0]} to {mask_mean[1]}$"
    with pytest.raises(CollapseError, match=says):
        check_collapse(mask_statistics(*shapes()), LIMITS.model_copy(update={"mask_mean": mask_mean}))


def test_every_fault_of_a_collapse_is_named_at_once() -> None:
    masks = torch.full((100, 1, 32, 32), 0.6)
    with pytest.raises(CollapseError) as caught:
        check_collapse(mask_statistics(masks, torch.arange(10).repeat(10)), LIMITS)
    assert str(caught.value).count("expected") == 5


def test_statistics_need_two_masks_of_every_class() -> None:
    with pytest.raises(ValueError, match="expected at least two of each"):
        mask_statistics(torch.rand(11, 1, 32, 32), torch.arange(11) % 10)


@pytest.mark.parametrize("shapes", ["inferred", "drawn"])
def test_masks_that_cannot_be_inferred_are_a_collapse_of_counterfactuals_alone(shapes: str) -> None:
    training = fast(shapes=shapes)
    trained(training)
    drawn, before = training.statistics(), training.counterfactual_statistics()
    for parameter in training.average.module.inference.parameters():
        parameter.data.zero_()
    assert training.statistics() == drawn
    after = training.counterfactual_statistics()
    if shapes == "drawn":
        assert before == after == drawn
        return
    assert before != drawn
    assert after.class_distance == after.class_diversity == 0
    with pytest.raises(CollapseError, match=r"has collapsed, in counterfactuals: .*differ by 0\.0000"):
        check_collapse(after, PARAMS.generator["cgn"].collapse, where=", in counterfactuals")
