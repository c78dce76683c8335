"""Aggregates against numbers by hand and against rliable's own, and the traps of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from rliable import metrics

from dreamspi.reports import statistics
from dreamspi.reports.intervals import Verdict, verdict
from dreamspi.reports.results import Results
from dreamspi.reports.statistics import aggregates, efficiency, improvement, improvements, iqm, profiles
from tests.reports.synthetic import EVERY, OPTIMUM, SPEEDS, STEPS, results

FEW = 300


def maze(values: dict[str, list[float]]) -> Results:
    """A study in the maze with these normalized scores, seed by seed."""
    seeds = range(1, 1 + max(map(len, values.values())))
    scores = {("maze", arm, seed): OPTIMUM * x for arm, row in values.items() for seed, x in enumerate(row, 1)}
    missing = [("maze", arm, seed) for arm in values for seed in seeds if ("maze", arm, seed) not in scores]
    return results(list(values), ["maze"], list(seeds), scores=scores, missing=missing)


def test_aggregates_by_hand() -> None:
    found = aggregates(maze({"ppo": [0.1, 0.2, 0.4, 1.3]}), "maze", resamples=FEW)["ppo"]
    assert found["mean"].estimate == pytest.approx(0.5)
    assert found["median"].estimate == pytest.approx(0.5)  # of environments' means, and there is one
    assert found["IQM"].estimate == pytest.approx(0.3)
    assert found["optimality gap"].estimate == pytest.approx(1 - (0.1 + 0.2 + 0.4 + 1.0) / 4)
    for interval in found.values():
        assert interval.n == 4
        assert interval.low < interval.estimate < interval.high


def test_seeds_are_drawn_within_each_environment() -> None:
    """Seeds that agree in each of two very different environments leave no uncertainty."""
    final = {"atari/Pong": 14.6, "atari/Breakout": 1.7}
    scores = {(env, "ppo", seed): score for env, score in final.items() for seed in (1, 2, 3)}
    found = aggregates(results(["ppo"], list(final), scores=scores), "atari", resamples=FEW)
    mean = found["ppo"]["mean"]
    assert (mean.low, mean.estimate, mean.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_bootstrap_repeats_although_rliable_ignores_its_seed() -> None:
    study = results(["ppo", "deepspi"])
    np.random.seed(11)
    before = np.random.get_state()[1].copy()
    first = aggregates(study, "minatar", resamples=FEW)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(12)
    assert aggregates(study, "minatar", resamples=FEW) == first
    assert aggregates(study, "minatar", seed=1, resamples=FEW) != first


def test_another_arm_changes_no_interval() -> None:
    alone = aggregates(results(["ppo"]), "minatar", resamples=FEW)["ppo"]
    assert aggregates(results(["deepspi", "ppo"]), "minatar", resamples=FEW)["ppo"] == alone


def test_the_generator_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        np.random.random()
        raise RuntimeError

    monkeypatch.setattr(statistics.library, "get_interval_estimates", broken)
    before = np.random.get_state()[1].copy()
    with pytest.raises(RuntimeError):
        aggregates(results(["ppo"]), "maze")
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_one_seed_has_estimates_and_no_interval() -> None:
    study = results(["ppo", "deepspi"], seeds=[1])
    for interval in aggregates(study, "minatar", resamples=FEW)["ppo"].values():
        assert interval.n == 1
        assert not interval.is_known
        assert "n = 1, no interval" in interval.text()
    assert not improvements(study, "minatar", resamples=FEW)["ppo", "deepspi"].is_known
    for curve in (profiles(study, "minatar")["ppo"], efficiency(study, "minatar")["ppo"]):
        assert np.isnan(curve.low).all()
        assert np.isfinite(curve.estimate).all()
        assert (curve.n == 1).all()


def test_the_probability_of_improvement_is_rliables() -> None:
    rng = np.random.default_rng(0)
    arms = [rng.integers(5, size=(seeds, 3)).astype(float) for seeds in (4, 6, 1)]  # with ties
    expected = [[metrics.probability_of_improvement(x, y) for y in arms] for x in arms]
    np.testing.assert_allclose(improvement(*arms), expected)


def test_every_pair_of_arms_by_hand_and_both_ways() -> None:
    found = improvements(maze({"ppo": [0.1, 0.2, 0.3], "deepspi": [0.2, 0.4, 0.6], "mine": [0.9, 0.9]}), "maze")
    assert len(found) == 6
    assert found["deepspi", "ppo"].estimate == pytest.approx((7 + 0.5) / 9)
    assert found["ppo", "deepspi"].estimate == pytest.approx(1 - 7.5 / 9)
    assert found["ppo", "deepspi"].high == pytest.approx(1 - found["deepspi", "ppo"].low)
    assert found["mine", "ppo"] == (1.0, 1.0, 1.0, 2)


def test_profiles_count_trainings_above_a_threshold() -> None:
    study = maze({"ppo": [0.1, 0.2, 0.4, 1.3]})
    curve = profiles(study, "maze", taus=[0.0, 0.1, 0.3, 1.3], resamples=FEW)["ppo"]
    np.testing.assert_allclose(curve.estimate, [1.0, 0.75, 0.5, 0.0])
    assert (curve.low <= curve.estimate).all()
    assert (curve.estimate <= curve.high).all()
    whole = profiles(maze({"ppo": [-0.5, 0.2, 1.3]}), "maze", resamples=FEW)["ppo"]
    assert (whole.x[0], whole.x[-1]) == pytest.approx((-0.5, 1.3))
    assert (np.diff(whole.estimate) <= 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 3), (4, 57)])
def test_the_iqm_is_rliables_at_each_point(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).normal(size=(*shape, 4))
    expected = [metrics.aggregate_iqm(values[..., point]) for point in range(4)]
    np.testing.assert_allclose(iqm(values), expected)
    assert iqm(values[..., 0]) == pytest.approx(expected[0])


def test_efficiency_ends_at_the_final_scores() -> None:
    study = results()
    along = efficiency(study, "minatar", resamples=FEW)
    final = aggregates(study, "minatar", resamples=FEW)
    for arm, curve in along.items():
        np.testing.assert_array_equal(curve.x, np.arange(EVERY, STEPS + 1, EVERY))
        assert curve.estimate[-1] == pytest.approx(final[arm]["IQM"].estimate, abs=1e-3)
        assert (np.diff(curve.estimate) > -1e-3).all()


def test_by_the_clock_every_arm_ends_where_it_ended() -> None:
    found = efficiency(results(), "minatar", "seconds", resamples=FEW)
    for arm, curve in found.items():
        assert curve.x[-1] == pytest.approx(STEPS / SPEEDS[arm], rel=0.15)
    assert found["ppo"].x[-1] < found["deepspi"].x[-1] < found["hybrid"].x[-1]
    final = aggregates(results(), "minatar", resamples=FEW)
    assert found["ppo"].estimate[-1] == pytest.approx(final["ppo"]["IQM"].estimate, abs=1e-3)


def test_a_suite_without_scores_gives_nothing() -> None:
    study = results(["ppo"], ["theirs/game"])
    for found in (aggregates, profiles, improvements, efficiency):
        assert found(study, "theirs") == {}


def test_a_win_needs_intervals_apart() -> None:
    study = maze({"ppo": [0.1, 0.2, 0.3], "deepspi": [0.25, 0.4, 0.5], "mine": [0.9, 0.91, 0.95], "two": [2.0, 2.1]})
    found = {arm: by_name["IQM"] for arm, by_name in aggregates(study, "maze").items()}
    assert verdict(found["deepspi"], found["ppo"]) is Verdict.OPEN
    assert verdict(found["mine"], found["ppo"]) is Verdict.HIGHER
    assert verdict(found["ppo"], found["mine"]) is Verdict.LOWER
    assert verdict(found["two"], found["ppo"]) is Verdict.TOO_FEW
