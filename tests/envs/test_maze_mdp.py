"""The exact maze against published numbers, closed forms and itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamspi.envs.maze_mdp import ACTIONS, RIGHT, UP, MazeMDP, build_maze
from dreamspi.errors import UserError

mazes = st.builds(build_maze, st.integers(2, 9), st.floats(0.01, 0.99), st.floats(0.5, 0.999))
parameters = st.tuples(st.integers(2, 9), st.floats(0.05, 0.95), st.floats(0.8, 0.999))


def at_start(maze: MazeMDP, policy: np.ndarray) -> float:
    return float(maze.policy_value(policy)[maze.start])


def test_published_values() -> None:
    maze = build_maze(5, 0.2, 0.99)
    assert len(maze.names) == 16
    assert maze.optimal_value()[maze.start] == pytest.approx(8.0103, abs=5e-5)
    assert at_start(maze, maze.deterministic_policy()) == pytest.approx(4.8035, abs=5e-5)
    up_twice = maze.deterministic_policy(upper_choice=UP, lower_choice=UP)
    assert at_start(maze, up_twice) == pytest.approx(-1.0880, abs=5e-5)
    assert at_start(maze, np.full((16, 4), 0.25)) == pytest.approx(1.7738, abs=5e-5)


@pytest.mark.parametrize(
    ("n", "slip", "gamma", "optimum", "right"),
    [(7, 0.2, 0.99, 11.4641, 6.6583), (3, 0.3, 0.95, 3.9992, 2.5744)],
)
def test_published_values_of_other_mazes(n: int, slip: float, gamma: float, optimum: float, right: float) -> None:
    maze = build_maze(n, slip, gamma)
    assert maze.optimal_value()[maze.start] == pytest.approx(optimum, abs=5e-5)
    assert at_start(maze, maze.deterministic_policy()) == pytest.approx(right, abs=5e-5)


@given(parameters)
@settings(max_examples=50, deadline=None)
def test_closed_forms(parameters: tuple[int, float, float]) -> None:
    n, slip, gamma = parameters
    maze = build_maze(n, slip, gamma)
    walk = gamma**2 * (1 - gamma**n) / (1 - gamma)  # n rewards of 1 after two steps
    to_choice = gamma**2 * (1 - gamma ** (n - 1)) / (1 - gamma)
    goal = gamma * n  # gamma**(n + 1) * n / gamma**n
    assert at_start(maze, maze.deterministic_policy()) == pytest.approx(walk)
    one_up = maze.deterministic_policy(upper_choice=UP)
    best = (1 - slip) * (to_choice + goal) + slip * walk
    assert at_start(maze, one_up) == pytest.approx(best)
    assert maze.optimal_value()[maze.start] == pytest.approx(best)
    two_up = maze.deterministic_policy(upper_choice=UP, lower_choice=UP)
    assert at_start(maze, two_up) == pytest.approx(to_choice + goal * ((1 - slip) - (2 - slip)))


@given(mazes, st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_it_is_an_mdp_and_evaluation_solves_bellman(maze: MazeMDP, seed: int) -> None:
    assert (maze.P >= 0).all() and np.allclose(maze.P.sum(-1), 1.0)
    ends = np.flatnonzero(maze.terminal)
    assert (maze.P[ends, :, ends] == 1.0).all() and not maze.R[ends].any()
    policy = np.random.default_rng(seed).dirichlet(np.ones(len(ACTIONS)), len(maze.names))
    value = maze.policy_value(policy)
    assert np.allclose(value, (policy * maze.action_value(value)).sum(1))
    assert not value[ends].any()
    assert (value <= maze.optimal_value() + 1e-9).all()


def test_every_move_of_the_smallest_picture() -> None:
    """n = 2, written out by hand."""
    maze = build_maze(2, 0.2, 0.5)
    assert maze.columns == 5
    index = maze.names.index
    moves = {
        ("start", RIGHT): ("hazard", 0.0),
        ("upper_1", RIGHT): ("upper_choice", 1.0),
        ("upper_choice", RIGHT): ("upper_exit", 1.0),
        ("upper_choice", UP): ("goal", 8.0),
        ("lower_1", RIGHT): ("lower_choice", 1.0),
        ("lower_choice", RIGHT): ("lower_exit", 1.0),
        ("lower_choice", UP): ("trap", -72.0),
    }
    for name in maze.names:
        for action in range(4):
            if name == "hazard":
                assert maze.P[index(name), action, index("upper_1")] == pytest.approx(0.8)
                assert maze.P[index(name), action, index("lower_1")] == pytest.approx(0.2)
                continue
            target, reward = moves.get((name, action), (name, 0.0))
            assert maze.P[index(name), action, index(target)] == 1.0
            assert maze.R[index(name), action] == pytest.approx(reward)
    cells = dict(zip(maze.names, map(tuple, maze.cells.tolist()), strict=True))
    assert cells["start"] == (2, 0) and cells["hazard"] == (2, 1)
    assert cells["goal"] == (0, 2) and cells["trap"] == (2, 2)
    assert cells["upper_choice"] == (1, 2) and cells["lower_exit"] == (3, 3)


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("path_length", {"path_length": 1}),
        ("slip", {"slip": 0.0}),
        ("slip", {"slip": 1.0}),
        ("gamma", {"gamma": 1.0}),
    ],
)
def test_bad_parameters_are_named(key: str, arguments: dict) -> None:
    with pytest.raises(UserError, match=key):
        build_maze(**arguments)
