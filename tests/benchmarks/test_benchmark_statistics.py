"""Medians, quartiles, ratios per round and exponents, against numbers worked out by hand."""

import numpy as np
import pytest

from benchmarks.statistics import Spread, deviation, order_of_round, ratios, rms, slope, steps_per_turn


def test_spread_of_five():
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(median=3.0, lower=2.0, upper=4.0)


def test_ratios_are_taken_round_by_round():
    """Both are four times slower in the second round: the ratio does not notice."""
    found = ratios({"old": [6.0, 24.0, 6.0], "new": [2.0, 8.0, 2.0]}, "old")
    assert found == {"new": Spread(3.0, 3.0, 3.0)}


def test_no_ratios_without_the_baseline():
    assert ratios({"new": [1.0]}, "old") == {}


def test_every_contestant_begins_a_round_and_none_is_left_out():
    orders = [order_of_round(["a", "b", "c"], number) for number in range(6)]
    assert {order[0] for order in orders} == {"a", "b", "c"}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


@pytest.mark.parametrize(("seconds", "steps"), [(5.0, 1), (0.3, 4), (1e-9, 200)])
def test_steps_fill_a_turn(seconds, steps):
    assert steps_per_turn(seconds, 1.0) == steps


def test_slope_of_a_power_law():
    sizes = np.array([1e3, 1e4, 1e5])
    assert slope(sizes, 3e-6 * sizes**1.5) == pytest.approx(1.5)


def test_deviation_and_rms():
    assert deviation(np.array([1.0, 2.0]), np.array([1.5, 0.0])) == 2.0
    assert rms(np.array([3.0, -4.0])) == pytest.approx(np.sqrt(12.5))
