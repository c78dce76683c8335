"""What a training is judged by, and what a study's results say of themselves."""

from __future__ import annotations

import pytest

from dreamspi.reports.results import judged
from tests.reports.synthetic import OPTIMUM, UNDISCOUNTED, results, with_settings

PAIR = ("ppo", "recurrent")


def test_the_maze_is_judged_by_exact_values() -> None:
    found = results(PAIR, ("maze", "minatar/breakout"))
    assert found.exact == ("maze",)
    for run in found.of("maze"):
        assert run.score == run.summary["maze_value"] and run.score_curve.name == "maze_value"
    assert {run.score_curve.name for run in found.of("minatar/breakout")} == {"train/return"}


def test_no_return_is_compared_with_an_exact_value() -> None:
    values = {("maze", arm, seed): OPTIMUM for arm in PAIR for seed in (1, 2, 3)}
    found = results(PAIR, ("maze", "minatar/breakout"), scores=values, memory=["recurrent"])
    assert found.exact == ()
    for run in found.of("maze"):
        assert run.score == pytest.approx(UNDISCOUNTED * OPTIMUM)
        assert run.score_curve.name == "train/return"


def test_one_training_without_an_exact_value_is_enough() -> None:
    known, unknown = results(PAIR, ("maze",)).runs, results(PAIR, ("maze",), memory=PAIR).runs
    assert not any(run.exact for run in judged([*known[1:], unknown[0]]))
    assert all(run.exact for run in judged(known))


def test_settings_in_which_arms_differ() -> None:
    found = results(("ppo", "deepspi"), ("maze",), (1, 2))
    found = with_settings(found, {("maze", "ppo", seed): {"gamma": None} for seed in (1, 2)})
    differences = found.differences()
    assert set(differences) == {"choices.planner", "gamma", "planner.ground.utility"}
    assert differences["gamma"] == {"ppo": ("null",), "deepspi": ("–",)}
    assert found.unlike() == {}


def test_trainings_of_one_arm_that_differ_are_told_with_every_value() -> None:
    found = results(("ppo", "deepspi"), ("maze", "minatar/breakout"), (1, 2, 3))
    found = with_settings(found, {("minatar/breakout", "ppo", 2): {"total_steps": 1}})
    assert found.differences()["total_steps"] == {"ppo": ("61440", "1"), "deepspi": ("61440",)}
    assert found.unlike() == {"ppo": ["total_steps"]}


def test_what_differs_between_environments_is_no_difference() -> None:
    found = results(("ppo",), ("maze", "minatar/breakout"))
    assert found.differences() == {} and found.unlike() == {}
