"""Scales against the numbers they come from, and the data files against themselves."""

from __future__ import annotations

import math

import pytest

from dreamspi.reports.normalization import KINDS, normalized, scale, suite
from dreamspi.reports.published import ppo_scores, rows, sources
from dreamspi.reports.results import Result
from tests.reports.synthetic import OPTIMUM, results


def one(env: str, score: float) -> Result:
    return results(["ppo"], [env], [1], scores={(env, "ppo", 1): score}).runs[0]


@pytest.mark.parametrize(
    ("env", "score", "expected"),
    [
        ("atari/Pong", -20.7, 0.0),
        ("atari/Pong", 14.6, 1.0),
        ("atari_machado/Breakout", 16.1, 0.5),
        ("atari_stochastic/Breakout", 59.3, 2.0),  # above human is not cut off
        ("maze", OPTIMUM, 1.0),
        ("maze", OPTIMUM / 2, 0.5),
        ("maze", -OPTIMUM, -1.0),
        ("minatar/breakout", 28.0, 1.0),
        ("minatar/space_invaders", 4.08, 0.0),
        ("gym/CartPole-v1", 475.0, 1.0),
        ("gym/CartPole-v1", 22.1, 0.0),
        ("gym/MountainCar-v0", -200.0, 0.0),
        ("gym/MountainCar-v0", -110.0, 1.0),
    ],
)
def test_zero_and_one_are_where_they_should_be(env: str, score: float, expected: float) -> None:
    assert normalized(one(env, score)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "env",
    ["minatar/seaquest", "atari/Tetris", "gym/Blackjack-v1", "gym/LunarLander-v3", "gym/nowhere-v0", "theirs"],
)
def test_an_environment_without_a_reference_has_no_scale(env: str) -> None:
    assert scale(one(env, 1.0)) is None
    assert math.isnan(normalized(one(env, 1.0)))


def test_no_score_stays_no_score() -> None:
    run = results(["ppo"], ["minatar/breakout"], [1], no_game=[("minatar/breakout", "ppo", 1)]).runs[0]
    assert math.isnan(normalized(run))


def test_the_suite_of_an_environment() -> None:
    assert [suite(env) for env in ("maze", "minatar/breakout", "atari_machado/Pong")] == [
        "maze",
        "minatar",
        "atari_machado",
    ]


def test_every_number_has_a_source_and_one_is_above_zero() -> None:
    files = {"atari": "human", "minatar": "best"}
    for file, column in files.items():
        for row in rows(file):
            assert row["source"] in sources(), (file, row)
            assert not row[column] or float(row[column]) > float(row["random"])
    assert len(rows("atari")) == 57
    for env in ("maze", "minatar/asterix", "atari/Alien", "gym/CartPole-v1"):
        found = scale(one(env, 1.0))
        assert found is not None
        assert found.source in sources()
        assert found.kind in KINDS


def test_published_ppo_scores_cover_the_57_games_and_leave_out_what_is_no_score() -> None:
    games = {row["game"] for row in rows("atari")}
    assert games <= set(ppo_scores())
    pong = {score.source: score for score in ppo_scores()["Pong"]}
    assert pong["baselines_ppo2"][2:] == (20.45, 0.81, 3)
    assert "stochastic_highest" not in pong  # a highest return that was counted from 0 upward
    alien = {score.source: score for score in ppo_scores()["Alien"]}
    assert alien["stochastic_highest"].mean == pytest.approx(1498.96)
    assert {score.source for found in ppo_scores().values() for score in found} <= set(sources())
