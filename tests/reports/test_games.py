"""Which arms' scores may be compared."""

from __future__ import annotations

from typing import Any

from dreamspi.reports.games import other_games, same_game
from dreamspi.reports.results import Results
from tests.reports.synthetic import results, with_settings

ARMS, SEEDS = ("ppo", "deepspi", "hybrid"), (1, 2, 3)


def changed(found: Results, env: str, arm: str, **settings: Any) -> Results:
    return with_settings(found, {(env, arm, seed): {f"env.{k}": v for k, v in settings.items()} for seed in SEEDS})


def test_arms_of_one_game_are_one_group_and_nothing_is_said() -> None:
    found = results(ARMS)
    assert same_game(found, found.environments) == (ARMS,) and other_games(found, found.environments) == []


def test_another_game_is_another_group() -> None:
    found = results(ARMS)
    for arm, length in (("ppo", 5), ("deepspi", 9), ("hybrid", 5)):
        found = changed(found, "maze", arm, path_length=length)
    assert same_game(found, ["maze"]) == (("ppo", "hybrid"), ("deepspi",))
    assert same_game(found, ["minatar/breakout"]) == (ARMS,)
    assert other_games(found, found.environments) == [
        "maze: not all arms play the same, they differ in env.path_length; only those that do are compared."
    ]


def test_a_discount_matters_to_exact_values_alone() -> None:
    other = {(env, "ppo", seed): {"gamma": 0.9} for env in ("maze", "minatar/breakout") for seed in SEEDS}
    found = with_settings(results(ARMS), other)
    assert same_game(found, ["maze"]) == (("ppo",), ("deepspi", "hybrid"))
    assert same_game(found, ["minatar/breakout"]) == (ARMS,)
    returns = with_settings(results(ARMS, memory=["hybrid"]), other)
    assert same_game(returns, ["maze"]) == (ARMS,)


def test_what_no_score_depends_on_does_not_matter() -> None:
    found = with_settings(results(ARMS), {("maze", "ppo", seed): {"planner.C": 1.2, "num_envs": 8} for seed in SEEDS})
    assert same_game(found, ["maze"]) == (ARMS,)
