"""Facts about how much a difference has to exceed."""

import pytest
from scipy import stats

from cgn.evaluation.margins import margin
from cgn.evaluation.tables import spread_of


def test_without_seeds_it_is_two_standard_errors_over_images() -> None:
    assert margin(0.0004, [spread_of([0.9]), spread_of([0.8])]) == pytest.approx(0.04)


def test_few_seeds_count_by_students_t_as_in_a_test_of_two_means() -> None:
    left, right = [0.90, 0.92, 0.97], [0.80, 0.79, 0.84]
    least = margin(0.0, [spread_of(left), spread_of(right)])
    chance = 2 * stats.norm.sf(2)
    interval = stats.ttest_ind(left, right).confidence_interval(1 - chance)
    assert least == pytest.approx((interval.high - interval.low) / 2)


def test_one_seed_beside_several_adds_nothing() -> None:
    several = spread_of([0.90, 0.92, 0.97])
    assert margin(0.0, [several, spread_of([0.5])]) == margin(0.0, [several]) > 0
