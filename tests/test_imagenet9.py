"""Facts about how images are taken apart and mixed for ImageNet-9."""

import pytest
import torch

from cgn.data.imagenet9 import (
    Box,
    Cutout,
    box_blackened,
    box_of,
    box_tiled,
    is_eligible,
    mixed,
    mixed_by_black,
    object_alone,
    object_removed,
    plan_mixes,
)
from cgn.errors import InputError
from cgn.rng import stream

RNG = stream(0)
BOX = Box(left=3, top=2, right=6, bottom=5)


def cutout(*, box: Box = BOX, object_value: int = 200) -> Cutout:
    """A square object of one value, on 8 x 10 pixels that all differ."""
    pixels = torch.arange(240, dtype=torch.uint8).view(3, 8, 10).clone()
    mask = torch.zeros(1, 8, 10, dtype=torch.uint8)
    left, top, right, bottom = box
    mask[:, top:bottom, left:right] = 255
    pixels[:, top:bottom, left:right] = object_value
    return Cutout(pixels, mask, box)


def test_a_box_is_the_smallest_around_the_mask() -> None:
    assert box_of(cutout().mask) == BOX
    faint = cutout().mask.clone()
    faint[0, 0, 0] = 100
    assert box_of(faint) == BOX
    assert box_of(faint, above=99) == Box(0, 0, 6, 5)
    with pytest.raises(InputError, match="found no pixel above 127"):
        box_of(torch.zeros(1, 8, 10, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("box", "eligible"),
    [
        (Box(50, 50, 100, 100), True),
        (Box(16, 16, 240, 217), True),  # 201 of the crop's 224 rows: 89.7 %
        (Box(16, 16, 240, 218), False),  # 202: 90.2 %
        (Box(0, 100, 32, 140), True),  # half of it inside
        (Box(0, 100, 31, 140), False),
        (Box(0, 0, 10, 10), False),
        (Box(50, 50, 50, 80), False),
    ],
)
def test_an_object_has_to_leave_background_and_to_lie_in_the_crop_by_half(box: Box, eligible: bool) -> None:
    assert is_eligible(box, crop=Box(16, 16, 240, 240)) is eligible


def test_an_object_and_the_rest_add_up_to_the_image() -> None:
    soft = cutout()._replace(mask=torch.randint(256, (1, 8, 10), generator=RNG, dtype=torch.uint8))
    both = object_alone(soft).int() + object_removed(soft).int()
    assert (both - soft.pixels.int()).abs().max() <= 1
    hard = cutout()
    assert torch.equal(object_alone(hard) + object_removed(hard), hard.pixels)
    assert (object_alone(hard)[:, hard.mask[0] == 0] == 0).all()
    assert (object_removed(hard)[:, hard.mask[0] > 0] == 0).all()


@pytest.mark.parametrize("change", [box_blackened, box_tiled])
def test_outside_the_box_nothing_changes_and_the_input_stays(change) -> None:
    image = cutout()
    before = image.pixels.clone()
    found = change(image)
    assert torch.equal(image.pixels, before)
    assert torch.equal(found[:, image.mask[0] == 0], before[:, image.mask[0] == 0])
    assert not torch.equal(found, before)


def test_a_blackened_box_is_black() -> None:
    assert (box_blackened(cutout())[:, 2:5, 3:6] == 0).all()


@pytest.mark.parametrize(
    ("box", "strip"),
    [
        (Box(3, 2, 6, 5), (slice(0, 8), slice(6, 10))),  # right: 4 columns of 8, against 3 of 8, 2 and 3 rows of 10
        (Box(5, 2, 9, 5), (slice(0, 8), slice(0, 5))),  # left
        (Box(1, 5, 9, 7), (slice(0, 5), slice(0, 10))),  # top
        (Box(1, 1, 9, 3), (slice(3, 8), slice(0, 10))),  # bottom
    ],
)
def test_a_tiled_box_repeats_the_largest_strip_beside_it(box: Box, strip: tuple[slice, slice]) -> None:
    image = cutout(box=box)
    source = image.pixels[:, strip[0], strip[1]]
    canvas = source.repeat(1, 8, 10)[:, :8, :10]
    left, top, right, bottom = box
    found = box_tiled(image)[:, top:bottom, left:right]
    assert torch.equal(found, canvas[:, top:bottom, left:right])
    assert not (found == 200).all()


def test_an_image_that_is_all_box_comes_back_as_it_is() -> None:
    image = cutout(box=Box(0, 0, 10, 8))
    assert torch.equal(box_tiled(image), image.pixels)


def test_a_mix_shows_the_object_before_the_other_background() -> None:
    background = torch.full((3, 8, 10), 77, dtype=torch.uint8)
    for compose in (mixed, mixed_by_black):
        found = compose(cutout(), background)
        assert (found[:, 2:5, 3:6] == 200).all()
        assert (found[:, cutout().mask[0] == 0] == 77).all()


def test_background_shines_through_black_parts_only_where_the_published_script_is_followed() -> None:
    background = torch.full((3, 8, 10), 77, dtype=torch.uint8)
    black = cutout(object_value=0)
    assert (mixed(black, background)[:, 2:5, 3:6] == 0).all()
    assert (mixed_by_black(black, background)[:, 2:5, 3:6] == 77).all()


def test_soft_edges_blend() -> None:
    image = cutout()._replace(mask=torch.full((1, 8, 10), 51, dtype=torch.uint8))  # a fifth
    found = mixed(image, torch.full((3, 8, 10), 100, dtype=torch.uint8))
    assert (found.float() - (0.2 * image.pixels.float() + 80)).abs().max() <= 0.5


LABELS = torch.arange(9).repeat(40)


@pytest.mark.parametrize(("variant", "offset"), [("mixed_same", 0), ("mixed_next", 1)])
def test_backgrounds_are_of_the_class_that_the_variant_says(variant: str, offset: int) -> None:
    plan = plan_mixes(LABELS, variant, stream(0))
    assert [mix.foreground for mix in plan] == list(range(len(LABELS)))
    backgrounds = LABELS[[mix.background for mix in plan]]
    assert torch.equal(backgrounds, (LABELS + offset) % 9)
    assert all(mix.background != mix.foreground for mix in plan)


def test_random_backgrounds_are_of_every_class_alike() -> None:
    plan = plan_mixes(LABELS, "mixed_rand", stream(0))
    counts = torch.bincount(LABELS[[mix.background for mix in plan]], minlength=9)
    assert (counts - 40).abs().max() < 22  # 3.7 standard deviations
    assert plan == plan_mixes(LABELS, "mixed_rand", stream(0))
    assert plan != plan_mixes(LABELS, "mixed_rand", stream(1))


@pytest.mark.parametrize(
    ("labels", "variant", "message"),
    [
        ([0, 0, 1], "mixed_same", "mixed_same: found no image of class 'bird'.* beside image 2"),
        ([0, 0, 1], "mixed_next", "mixed_next: found no image of class 'wheeled vehicle'"),
        ([0, 0, 1], "only_fg", "variant: found 'only_fg', expected one that mixes images: mixed_same"),
    ],
)
def test_a_class_without_a_background_to_give_is_named(labels: list[int], variant: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_mixes(torch.tensor(labels), variant, stream(0))
