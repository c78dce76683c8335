"""Intervals, verdicts, and the numbers that a reader sees."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dreamspi.reports.intervals import Curve, Interval, Verdict, bootstrap_mean, bootstrap_means, number, verdict

NAN = math.nan


@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_bootstrap_of_a_mean_agrees_with_all_resamples(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    means = np.array([np.mean(picked) for picked in itertools.product(values, repeat=n)])
    exact = np.percentile(means, [2.5, 97.5], method="inverted_cdf")
    found = bootstrap_mean(values, resamples=40_000)
    assert found.estimate == pytest.approx(values.mean())
    np.testing.assert_allclose([found.low, found.high], exact, atol=0.1 * values.std())
    assert found.n == n


def test_one_value_has_no_interval() -> None:
    found = bootstrap_mean([4.0])
    assert found.estimate == 4.0
    assert not found.is_known
    assert found.text() == "4.00 (n = 1, no interval)"


def test_values_that_are_missing_are_left_out_and_not_counted() -> None:
    assert bootstrap_mean([1.0, NAN, 3.0]) == bootstrap_mean([1.0, 3.0])
    assert bootstrap_mean([1.0, NAN]).n == 1
    nothing = bootstrap_mean([NAN])
    assert nothing.n == 0
    assert nothing.text() == "–"


def test_the_bootstrap_repeats_and_leaves_numpys_generator_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    values = np.random.default_rng(0).normal(size=9)
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_every_column_gets_the_interval_it_would_get_alone() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    low, high = bootstrap_means(values)
    for column in range(6):
        alone = bootstrap_mean(values[:, column])
        assert (low[column], high[column]) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Interval(5, 4, 6, 3), Interval(2, 1, 3, 3), Verdict.HIGHER),
        (Interval(2, 1, 3, 3), Interval(5, 4, 6, 3), Verdict.LOWER),
        (Interval(5, 3, 6, 3), Interval(2, 1, 4, 3), Verdict.OPEN),
        (Interval(5, 4, 6, 3), Interval(2, 1, 4, 3), Verdict.OPEN),  # they touch
        (Interval(5, 5, 5, 3), Interval(5, 5, 5, 3), Verdict.OPEN),
        (Interval(5, 4, 6, 2), Interval(2, 1, 3, 9), Verdict.TOO_FEW),
        (Interval(5, NAN, NAN, 1), Interval(2, 1, 3, 9), Verdict.TOO_FEW),
        (Interval(NAN, NAN, NAN, 0), Interval(2, 1, 3, 9), Verdict.TOO_FEW),
    ],
)
def test_only_separate_intervals_make_a_win(a: Interval, b: Interval, expected: Verdict) -> None:
    assert verdict(a, b) is expected


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7.9251887, "7.93"),
        (0.012345, "0.0123"),
        (12345.6, "12346"),
        (-20.45, "-20.4"),
        (0.0, "0"),
        (-0.0, "0"),
        (99.96, "100.0"),
        (NAN, "–"),
        (math.inf, "inf"),
    ],
)
def test_numbers_keep_three_digits_and_no_exponent(value: float, shown: str) -> None:
    assert number(value) == shown


def test_an_interval_as_text() -> None:
    assert Interval(7.92, 7.81, 7.98, 3).text() == "7.92 [7.81, 7.98]"
    curve = Curve(np.array([1.0]), np.array([2.0]), np.array([NAN]), np.array([NAN]), np.array([1]))
    assert curve.at(0).text(2) == "2.0 (n = 1, no interval)"
