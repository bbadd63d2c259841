"""Closed forms of what judges' outputs are turned into."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.contracts import Factors
from cgn.errors import InputError
from cgn.evaluation.image_quality import InceptionScore, TopShares, fid, inception_score, top_shares
from cgn.rng import stream


def rows(*classes: int, num_classes: int = 8) -> Tensor:
    """Certain of one class each."""
    return F.one_hot(torch.tensor(classes), num_classes).float()


# ---- Inception Score


def test_images_of_so_many_certain_classes_score_their_number() -> None:
    assert inception_score(rows(0, 1, 2, 3, 0, 1, 2, 3), 1) == pytest.approx((4, 0))
    assert inception_score(rows(0, 0, 0), 1) == pytest.approx((1, 0))


def test_images_that_all_look_alike_score_one_however_uncertain() -> None:
    assert inception_score(torch.full((6, 8), 1 / 8), 2) == pytest.approx((1, 0))


def test_uncertainty_lowers_the_score_by_its_entropy() -> None:
    found = inception_score(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), 1)
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert found.mean == pytest.approx(2 / math.exp(entropy), rel=1e-6)


def test_splits_are_scored_apart_in_order() -> None:
    found = inception_score(rows(0, 1, 0, 1, 2, 2, 2, 2), 2)  # a score of 2 and one of 1
    assert isinstance(found, InceptionScore)
    assert found == pytest.approx((1.5, 0.5))
    assert inception_score(rows(0, 1, 2), 2).mean == pytest.approx(1.5)  # of two images and of one


def test_fewer_images_than_splits_have_no_score() -> None:
    with pytest.raises(InputError, match="found 3 images, expected at least 4, one per split"):
        inception_score(rows(0, 1, 2), 4)


# ---- FID


def test_fid_of_shifted_and_scaled_features_is_its_closed_form() -> None:
    features = torch.randn(1000, 4, generator=stream(0), dtype=torch.float64)
    shift = torch.tensor([3.0, 0.0, 4.0, 0.0], dtype=torch.float64)
    variances = features.var(0).sum().item()
    assert fid(features, features) == pytest.approx(0, abs=1e-9)
    assert fid(features, features + shift) == pytest.approx(25, rel=1e-9)
    assert fid(features, 3 * features - 3 * features.mean(0) + features.mean(0)) == pytest.approx(4 * variances)


@pytest.mark.parametrize(("num", "other"), [(2, 2), (5, 9), (40, 7), (30, 31), (64, 64), (65, 3)])
def test_fid_of_fewer_images_than_features_is_that_of_their_covariances(num: int, other: int) -> None:
    found = torch.randn(num, 64, generator=stream(0), dtype=torch.float64)
    expected = 2 * torch.randn(other, 64, generator=stream(1), dtype=torch.float64) + 1
    # The trace of the covariances' geometric mean is the sum of singular values of one factor times the other.
    factors = [(part - part.mean(0)) / (len(part) - 1) ** 0.5 for part in (found, expected)]
    cross = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    squares = sum(factor.square().sum() for factor in factors)
    closed = (found.mean(0) - expected.mean(0)).square().sum() + squares - 2 * cross
    assert fid(found, expected) == pytest.approx(closed.item(), rel=1e-6)
    assert fid(found.float(), expected.float()) == pytest.approx(closed.item(), rel=1e-4)


def test_fid_does_not_depend_on_the_order_of_images_or_sets() -> None:
    found, expected = (torch.rand(num, 16, generator=stream(num)) for num in (12, 50))
    assert fid(found.flip(0), expected) == pytest.approx(fid(found, expected), rel=1e-6)
    assert fid(expected, found) == pytest.approx(fid(found, expected), rel=1e-6)


def test_fewer_than_two_images_have_no_fid() -> None:
    for sets in ((torch.ones(1, 4), torch.ones(9, 4)), (torch.ones(9, 4), torch.ones(0, 4))):
        with pytest.raises(InputError, match=r"fid: found [01] images, expected at least two"):
            fid(*sets)


# ---- classes that a classifier names


def test_shares_count_the_first_and_the_first_five_of_what_a_classifier_names() -> None:
    logits = torch.arange(10.0).repeat(4, 1)  # the likeliest is 9, the fifth 5
    asked_for = Factors(
        shape=torch.tensor([9, 9, 9, 0]), texture=torch.tensor([8, 5, 4, 9]), background=torch.tensor([0, 1, 2, 3])
    )
    assert top_shares(logits, asked_for) == {
        "shape": TopShares(0.75, 0.75),
        "texture": TopShares(0.25, 0.75),
        "background": TopShares(0.0, 0.0),
    }


def test_no_images_have_no_shares() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(InputError, match="found no image, expected some"):
        top_shares(torch.zeros(0, 10), Factors(nothing, nothing, nothing))
