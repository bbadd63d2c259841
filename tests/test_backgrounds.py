"""Facts about accuracy on the variants of ImageNet-9, on classifiers whose answers are known."""

import pytest
import torch

from cgn.errors import InputError
from cgn.evaluation.backgrounds import (
    accuracy_interval,
    background_gap,
    challenge_accuracy,
    in9_predictions,
    paired_background_gap,
)
from cgn.rng import stream

CLASSES = torch.arange(9).repeat(50)
OTHERS = (CLASSES + 1 + torch.arange(450) % 8) % 9  # of backgrounds: never that of the foreground


@pytest.mark.parametrize(
    ("classifier", "same", "gap"),
    [
        (lambda foreground, background: background, 1.0, 1.0),
        (lambda foreground, background: foreground, 1.0, 0.0),
        (lambda foreground, background: torch.full_like(foreground, 3), 1 / 9, 0.0),
    ],
    ids=["always the background", "always the shape", "a constant"],
)
def test_toy_classifiers_have_the_gap_that_is_known(classifier, same: float, gap: float) -> None:
    mixed_same = classifier(CLASSES, CLASSES) == CLASSES
    mixed_rand = classifier(CLASSES, OTHERS) == CLASSES
    assert accuracy_interval(mixed_same, stream(0)).value == pytest.approx(same, abs=1e-6)
    found = background_gap(mixed_same, mixed_rand, stream(0))
    assert found.value == pytest.approx(gap, abs=1e-6)
    assert found.low <= found.value + 1e-6
    assert found.high >= found.value - 1e-6


def test_the_gap_of_the_same_foregrounds_is_resampled_by_foreground() -> None:
    numbers = torch.arange(400)
    same, rand = numbers % 10 < 8, numbers % 10 < 6  # what is hard in one variant is so in the other
    paired, apart = (gap(same, rand, stream(0)) for gap in (paired_background_gap, background_gap))
    assert paired.value == pytest.approx(apart.value) == pytest.approx(0.2)
    drawn = torch.randint(400, (2000, 400), generator=stream(0, "plain"))
    plain = torch.quantile((same.float() - rand.float())[drawn].mean(1), torch.tensor([0.025, 0.975])).tolist()
    assert list(paired[1:]) == pytest.approx(plain, abs=0.01)
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)
    swapped = paired_background_gap(rand, same, stream(0))
    assert swapped.value == pytest.approx(-0.2)
    assert swapped.high < 0


def test_an_image_called_something_outside_the_nine_classes_is_wrong() -> None:
    # dog, bird, a teapot, the last wheeled vehicle, and a fox, which is a carnivore and no dog
    assert in9_predictions(torch.tensor([151, 7, 849, 880, 277])).tolist() == [0, 1, -1, 2, 4]


def test_an_interval_holds_the_share_and_narrows_with_more_images() -> None:
    widths = []
    for num in (100, 10_000):
        correct = torch.arange(num) % 10 < 7
        found = accuracy_interval(correct, stream(0))
        assert found.value == pytest.approx(0.7)
        assert found.low < 0.7 < found.high
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(2 * 1.96 * (0.21 / 100) ** 0.5, rel=0.15)  # as of the normal approximation
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.15)


def test_a_foreground_counts_where_no_background_fools_the_classifier() -> None:
    correct = torch.tensor([[True, True, True], [True, False, True], [True, True, True], [False, False, False]])
    assert challenge_accuracy(correct, stream(0)).value == 0.5


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda none, some: accuracy_interval(none, stream(0)), "accuracy: found no images"),
        (lambda none, some: background_gap(some, none, stream(0)), "mixed_rand: found no images"),
        (lambda none, some: background_gap(none, some, stream(0)), "mixed_same: found no images"),
        (lambda none, some: paired_background_gap(none, none, stream(0)), "mixed_same: found no images"),
        (lambda none, some: challenge_accuracy(some[None][:, :0], stream(0)), r"found \(1, 0\) foregrounds"),
    ],
)
def test_no_images_are_an_error_that_names_the_variant(work, message: str) -> None:
    with pytest.raises(InputError, match=message):
        work(torch.zeros(0, dtype=torch.bool), torch.ones(3, dtype=torch.bool))
