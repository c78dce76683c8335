"""The theorems' command: tables without a violation, pictures, the two failures, and wrong input in one line."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks.failures import (
    FORWARD,
    best_latent_policy,
    dream_beyond_the_data,
    ledge,
    lower_corridor,
    merge,
    twin,
)
from benchmarks.theorems import CONSTANTS, LIPSCHITZ, THEOREMS, main, number
from dreamspi.envs.maze_mdp import RIGHT, UP, build_maze
from planners.finite.bounds import Abstraction
from planners.finite.mdp import FiniteMDP
from tests.support import refused


def test_it_prints_both_tables_and_draws(tmp_path, capsys):
    assert main([f"out={tmp_path}", "cases=10", "seed=3"]) == 0
    printed = capsys.readouterr().out
    rows = [[word.strip() for word in line.strip("|").split("|")] for line in printed.splitlines() if "|" in line]
    monotone, bounds = rows[2 : 2 + len(CONSTANTS)], rows[4 + len(CONSTANTS) :]
    assert [row[2] for row in monotone] == ["none"] * len(CONSTANTS)
    assert [row[3] for row in monotone] == ["100%"] * len(CONSTANTS)
    assert len(bounds) == len(THEOREMS) * len(LIPSCHITZ)
    assert "0 of 10" not in [row[2] for row in bounds]  # some bound was there to be violated
    assert [row[3] for row in bounds] == ["0"] * len(bounds)  # no violation
    ratios = [float(row[4]) for row in bounds if row[4] != "-"]  # "-" where the truth is always 0
    assert ratios and min(ratios) >= 1.0
    for name in ("theorem1", "out_of_trajectory", "confounding"):
        picture = imread(tmp_path / f"{name}.png")
        assert picture.shape[1] > 600 and picture.std() > 0.05
        assert (tmp_path / f"{name}.png").stat().st_size < 120_000


def test_without_a_directory_it_only_prints(tmp_path, capsys):
    assert main(["cases=10"]) == 0
    assert "confounding" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cases=9"], "cases=9: must be a whole number of at least 10"),
        (["cases=many"], "cases=many: must be a whole number"),
        (["seed=-1"], "seed=-1: must be a whole number of at least 0"),
        (["out=/nowhere/at/all"], "out=/nowhere/at/all: no such directory"),
        (["case=20"], "option=case=20: no such name. Did you mean cases="),
        (["out"], "option=out: no such name"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, message, capsys):
    assert message in refused(words, capsys, main)


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "cases=1000" in capsys.readouterr().out


def test_numbers_are_short():
    assert [number(value) for value in (1.0, 2.345, 54.61, 643.2, 8018.4)] == ["1", "2.35", "54.6", "643", "8,018"]


def test_the_ledge_is_safe_for_who_walks_on():
    mdp = ledge()
    assert mdp.optimal_policy()[:5].argmax(1).tolist() == [FORWARD] * 5
    assert mdp.initial @ mdp.optimal_value() == pytest.approx(10.0 * 0.9**4)
    jump_at_once = np.tile([0.0, 1.0], (len(mdp.R), 1))
    assert mdp.rho(jump_at_once) == pytest.approx(-10.0 * 0.9)


def test_a_dream_beyond_the_data_misleads_only_outside_of_the_neighborhood():
    free = dream_beyond_the_data(None)
    assert free[1].departure == pytest.approx(1000.0)
    assert free[1].real == pytest.approx(-9.0) and free[1].dreamt > 15.0  # it believes the promise, and falls
    assert [i.real < 0.0 for i in free[1:7]] == [True] * 5 + [False]  # once in each of the five abysses
    for C in (1.05, 1.1, 1.2):
        held = dream_beyond_the_data(C)
        assert max(i.departure for i in held) <= C + 1e-9
        assert min(i.real for i in held) > 6.1
        assert all(abs(i.real - i.dreamt) < 0.5 for i in held)
    assert dream_beyond_the_data(1.1, iterations=200)[-1].real == pytest.approx(10.0 * 0.9**4, abs=1e-3)


def test_the_best_policy_that_each_encoder_allows():
    maze = build_maze()
    apart, choice, merged = (best_latent_policy(maze, names) for names in ((), ("lower_choice",), lower_corridor(maze)))
    assert apart.value == pytest.approx(8.0103, abs=5e-5)
    assert merged.value == pytest.approx(4.8035, abs=5e-5)
    # With the choice cells alone merged, one can still wait for ever before the lower one, and go up at the upper.
    assert choice.value == pytest.approx(7.6318, abs=5e-5)
    assert choice.policy[maze.names.index("upper_choice")].argmax() == UP
    assert maze.rho(choice.policy) == pytest.approx(choice.value)
    for name in lower_corridor(maze):
        here, above = (merged.policy[maze.names.index(cell)] for cell in (name, name.replace("lower", "upper")))
        assert (here == above).all()


def test_an_update_that_merges_leaves_the_neighborhood_before_it_costs_much():
    maze = build_maze()
    share, value, departure = merge(maze)
    assert (np.diff(value) < 0.0).all() and (np.diff(departure) > 0.0).all()
    assert value[departure <= 1.1].min() > 7.8
    even = maze.deterministic_policy()
    for name in ("upper_choice", "lower_choice"):  # where both are one latent, the head can't tell
        even[maze.names.index(name)] = [0.5, 0.0, 0.0, 0.5]
    assert value[-1] == pytest.approx(maze.rho(even))
    assert departure[-1] == pytest.approx(50.0)


def test_once_collapsed_the_losses_see_nothing():
    """The corridors merged, and a model that knows how often each is slipped into: where one only goes right its local
    losses are 0, for both corridors then pay alike. They see the merge while the policy still goes up now and then."""
    maze = build_maze(slip=0.2)
    kept = [name for name in maze.names if not name.startswith("lower")]
    phi = np.array([kept.index(twin(name)) for name in maze.names])
    belief = {"lower": 0.2, "upper": 0.8}
    share = np.array([belief.get(name.partition("_")[0], 1.0) for name in maze.names])
    weight = np.eye(len(kept))[phi].T * share
    P = np.einsum("zs,sat,tk->zak", weight, maze.P, np.eye(len(kept))[phi])
    terminal = np.array([maze.terminal[maze.names.index(name)] for name in kept])
    initial = np.eye(len(kept))[phi[maze.start]]
    model = FiniteMDP(P, weight @ maze.R, initial, terminal, maze.gamma)
    world = Abstraction(maze, phi, model, 1.0 - np.eye(len(kept)))
    assert model.initial @ model.optimal_value() == pytest.approx(best_latent_policy(maze, lower_corridor(maze)).value)

    right = maze.deterministic_policy()
    sometimes_up = right.copy()
    for name in ("upper_choice", "lower_choice"):
        sometimes_up[maze.names.index(name), [UP, RIGHT]] = 0.1, 0.9
    losses = [world.losses(maze.episodes(policy).distribution, policy) for policy in (right, sometimes_up)]
    assert losses[0] == pytest.approx((0.0, 0.0, 0.0, 0.0))
    # One step in seven is at a choice, one of ten of these goes up: upper pays 5.3, lower -47.3, the model says -5.3.
    assert losses[1].reward == pytest.approx(0.1 / 7 * (0.8 * 10.515 + 0.2 * 42.060), abs=1e-3)
    assert losses[1].transition == pytest.approx(0.1 / 7 * (0.8 * 0.2 + 0.2 * 0.8))
