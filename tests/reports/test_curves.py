"""Curves by hand: common points, missing values, two axes."""

from __future__ import annotations

import numpy as np
import pytest

from dreamspi.errors import UserError
from dreamspi.reports.curves import MOST_POINTS, POINTS_EACH, curves, held, thinned
from dreamspi.reports.intervals import bootstrap_mean
from tests.reports.synthetic import ARMS, EVERY, STEPS, results, with_curve

ENV, ROWS = "minatar/breakout", STEPS // EVERY
NAN = float("nan")


def test_a_point_is_the_mean_of_the_seeds_with_its_interval() -> None:
    study = results()
    found = curves(study, "model/transition_distance", ENV)
    assert tuple(found) == ARMS
    for arm, curve in found.items():
        values = np.stack([run.curves["model/transition_distance"] for run in study.of(ENV, arm)])
        np.testing.assert_allclose(curve.estimate, values.mean(axis=0))
        np.testing.assert_array_equal(curve.x, np.arange(EVERY, STEPS + 1, EVERY))
        assert curve.at(3) == pytest.approx(bootstrap_mean(values[:, 3]))
        assert (curve.n == 3).all()


def test_a_seed_without_a_value_is_not_counted() -> None:
    rows = {("maze", "ppo", seed): [NAN if row < seed else float(seed) for row in range(ROWS)] for seed in (1, 2, 3)}
    curve = curves(with_curve(results(["ppo"], ["maze"]), "maze_value", rows), "score", "maze")["ppo"]
    np.testing.assert_array_equal(curve.x, np.arange(2 * EVERY, STEPS + 1, EVERY))  # nobody has the first row
    np.testing.assert_array_equal(curve.n[:3], [1, 2, 3])
    np.testing.assert_allclose(curve.estimate[:3], [1.0, 1.5, 2.0])
    assert np.isnan(curve.low[0])
    assert np.isfinite(curve.low[1])
    assert np.isfinite(curve.estimate).all()


def test_a_metric_logged_now_and_then_has_points_there_only() -> None:
    curve = curves(results(["ppo"]), "certificate/L_P", ENV)["ppo"]
    np.testing.assert_array_equal(curve.x, np.arange(3 * EVERY, STEPS + 1, 3 * EVERY))


def test_arms_that_do_not_log_a_metric_are_absent() -> None:
    assert tuple(curves(results(), "dream/reward", ENV)) == ("dreamspi", "hybrid")


def test_by_the_clock_a_curve_begins_with_all_seeds_and_ends_with_the_slowest() -> None:
    study = results(["ppo"], [ENV])
    curve = curves(study, "train/return", ENV, axis="seconds")["ppo"]
    seconds = [run.seconds for run in study.runs]
    assert curve.x[0] >= max(times.iloc[0] for times in seconds)
    assert curve.x[-1] == pytest.approx(max(times.iloc[-1] for times in seconds))
    assert curve.estimate[-1] == pytest.approx(np.mean([run.curves["train/return"].iloc[-1] for run in study.runs]))
    assert (curve.n == 3).all()
    slower = curves(results(["ppo"], [ENV], seconds=10), "train/return", ENV, axis="seconds")["ppo"]
    np.testing.assert_allclose(slower.x, 10 * curve.x)
    np.testing.assert_array_equal(slower.estimate, curve.estimate)


def test_a_fast_arm_has_enough_points_beside_a_slow_one() -> None:
    found = curves(results(["ppo", "hybrid"]), "score", ENV, axis="seconds")
    assert len(found["ppo"].x) > POINTS_EACH / 2
    assert set(found["ppo"].x) <= set(found["hybrid"].x) | set(found["ppo"].x[found["ppo"].x < found["hybrid"].x[0]])


def test_one_seed_has_no_interval() -> None:
    curve = curves(results(seeds=[1]), "score", ENV)["ppo"]
    assert np.isnan(curve.low).all()
    assert (curve.n == 1).all()


def test_no_game_ever_ended() -> None:
    study = results(["ppo"], [ENV], [1], no_game=[(ENV, "ppo", 1)])
    assert curves(study, "score", ENV) == {}


def test_wrong_names_are_answered_with_near_ones() -> None:
    with pytest.raises(UserError, match="model/transition_distance"):
        curves(results(), "model/transition_distanc", ENV)
    with pytest.raises(UserError, match="minatar/breakout"):
        curves(results(), "score", "minatar/breakot")


def test_a_value_holds_until_the_next_and_not_beyond_the_end() -> None:
    found = held(
        np.array([1.0, 2.0, 4.0]), np.array([10.0, NAN, 40.0]), np.array([0.5, 1.0, 1.9, 2.5, 4.0, 5.0, 6.0]), 5.0
    )
    np.testing.assert_array_equal(found, [NAN, 10.0, 10.0, NAN, 40.0, 40.0, NAN])
    assert np.isnan(held(np.empty(0), np.empty(0), np.array([1.0]), 2.0)).all()


def test_thinning_keeps_both_ends() -> None:
    grid = thinned(np.arange(1000.0))
    assert len(grid) == MOST_POINTS
    assert (grid[0], grid[-1]) == (0.0, 999.0)
    np.testing.assert_array_equal(thinned(np.arange(5.0)), np.arange(5.0))
