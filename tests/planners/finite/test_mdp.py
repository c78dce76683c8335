"""Finite MDPs: values by hand, identities on random MDPs, and Theorem 1 in hundreds of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from dreamspi.envs.maze_mdp import UP, build_maze
from planners.finite.mdp import (
    FiniteMDP,
    best_in_neighborhood,
    importance_ratios,
    improve_in_neighborhood,
    random_mdp,
    random_neighbor,
    random_policy,
)

seeds = st.integers(0, 2**32 - 1)
constants = st.floats(1.01, 1.99)
same_each_time = settings(max_examples=100, deadline=None, derandomize=True)


def chain(gamma: float = 0.5) -> FiniteMDP:
    """Two cells and an end: ``go`` moves on and pays 1, then 2; ``stay`` does nothing."""
    P, R = np.zeros((3, 2, 3)), np.zeros((3, 2))
    for s in range(2):
        P[s, 0, s + 1] = P[s, 1, s] = 1.0
        R[s, 0] = s + 1.0
    P[2, :, 2] = 1.0
    return FiniteMDP(P, R, np.array([1.0, 0.0, 0.0]), np.array([False, False, True]), gamma)


def example(seed: int) -> tuple[np.random.Generator, FiniteMDP, np.ndarray]:
    """A random MDP of a random size and a random policy, with the generator that they came from."""
    rng = np.random.default_rng(seed)
    states, actions = int(rng.integers(2, 9)), int(rng.integers(1, 5))
    return rng, random_mdp(rng, states, actions, rng.uniform(0.3, 0.99)), random_policy(rng, states, actions)


def test_the_chain_by_hand() -> None:
    mdp, half = chain(), np.full((3, 2), 0.5)
    last = 0.5 * 2.0 / (1.0 - 0.5 * 0.5)  # goes with 1/2, or is where it was
    first = (0.5 * (1.0 + 0.5 * last)) / (1.0 - 0.5 * 0.5)
    assert mdp.policy_value(half) == pytest.approx([first, last, 0.0])
    assert mdp.rho(half) == pytest.approx(first)
    assert mdp.advantage(half)[0] == pytest.approx([1.0 + 0.5 * last - first, 0.5 * first - first])
    assert mdp.optimal_value() == pytest.approx([2.0, 2.0, 0.0])
    process = mdp.episodes(half)
    assert process.episode_length == pytest.approx(4.0)
    assert process.distribution == pytest.approx([0.5, 0.5, 0.0])
    assert mdp.occupancy(half, 0.0) == pytest.approx([1.0, 0.0, 0.0])
    assert mdp.occupancy(half, 0.5) == pytest.approx([2 / 3, 2 / 9, 1 / 9])


def test_the_maze_has_the_published_values() -> None:
    mdp = build_maze()
    assert mdp.initial @ mdp.optimal_value() == pytest.approx(8.0103, abs=5e-5)
    right, up = mdp.deterministic_policy(), mdp.deterministic_policy(upper_choice=UP, lower_choice=UP)
    assert [mdp.rho(right), mdp.rho(up)] == pytest.approx([4.8035, -1.0880], abs=5e-5)
    assert mdp.rho(np.full_like(right, 0.25)) == pytest.approx(1.7738, abs=5e-5)
    assert mdp.episodes(right).episode_length == pytest.approx(7.0)


@given(seeds)
@same_each_time
def test_values_are_those_of_bellman(seed: int) -> None:
    rng, mdp, policy = example(seed)
    value = mdp.policy_value(policy)
    assert np.allclose((policy * mdp.action_value(value)).sum(1), value)
    assert np.allclose((policy * mdp.advantage(policy)).sum(1), 0.0, atol=1e-9)
    best = mdp.optimal_value()
    assert np.allclose(mdp.action_value(best).max(1), best, atol=1e-8)
    assert (value <= best + 1e-8).all()
    other = random_policy(rng, *policy.shape)  # the performance difference lemma ties occupancy to values
    gain = (mdp.occupancy(other, mdp.gamma)[:, None] * other * mdp.advantage(policy)).sum() / (1.0 - mdp.gamma)
    assert gain == pytest.approx(mdp.rho(other) - mdp.rho(policy), abs=1e-8)


@given(seeds, st.floats(0.0, 0.9))
@same_each_time
def test_the_occupancy_is_the_sum_over_time(seed: int, discount: float) -> None:
    _, mdp, policy = example(seed)
    state, total = mdp.initial, np.zeros(len(mdp.initial))
    for t in range(400):
        total = total + (1.0 - discount) * discount**t * state
        state = state @ mdp.transition(policy)
    assert mdp.occupancy(policy, discount) == pytest.approx(total, abs=1e-12)


@given(seeds)
@same_each_time
def test_the_episodic_process_is_stationary(seed: int) -> None:
    _, mdp, policy = example(seed)
    xi, length = mdp.episodes(policy)
    step = xi @ mdp.transition(policy)
    restarted = np.where(mdp.terminal, 0.0, step) + step[mdp.terminal].sum() * mdp.initial
    assert restarted == pytest.approx(xi, abs=1e-12)
    assert xi.sum() == pytest.approx(1.0)
    assert step[mdp.terminal].sum() == pytest.approx(1.0 / length)  # one episode ends per AEL actions
    assert (xi >= mdp.initial / length - 1e-12).all()


def test_unreached_states_count_nowhere() -> None:
    mdp = chain()
    stay_at_last = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert mdp.visited(stay_at_last).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="need not end"):
        mdp.episodes(stay_at_last)
    loop = np.insert(np.insert(mdp.P, 3, 0.0, 2), 3, np.eye(4)[3], 0)  # a fourth state, apart, that never ends
    apart = FiniteMDP(loop, np.vstack((mdp.R, [9.0, 9.0])), np.eye(4)[0], np.eye(4)[2] > 0, 0.5)
    assert apart.episodes(np.full((4, 2), 0.5)).distribution == pytest.approx([0.5, 0.5, 0.0, 0.0])


def test_ratios_count_possible_actions_alone() -> None:
    policy = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    other = np.array([[0.6, 0.4, 0.0], [0.4, 0.0, 0.6]])
    assert importance_ratios(policy, other) == pytest.approx((0.0, 2.0))
    assert importance_ratios(policy, other, np.array([True, False])) == pytest.approx((0.8, 1.2))
    assert importance_ratios(policy, np.array([[0.5, 0.4, 0.1], [0.2, 0.3, 0.5]]))[1] == np.inf


@given(seeds, constants)
@same_each_time
def test_the_greedy_step_solves_the_linear_program(seed: int, C: float) -> None:
    rng, _, policy = example(seed)
    advantage = rng.normal(size=policy.shape).round(int(rng.integers(3)))  # rounded: with ties
    best = best_in_neighborhood(policy, advantage, C)
    smallest, largest = importance_ratios(policy, best)
    assert 2.0 - C - 1e-9 <= smallest <= largest <= C + 1e-9
    for row, scores, found in zip(policy, advantage, best, strict=True):
        bounds = np.stack(((2.0 - C) * row, C * row), 1)
        program = linprog(-scores, A_eq=np.ones((1, len(row))), b_eq=[1.0], bounds=bounds)
        assert scores @ found == pytest.approx(-program.fun, abs=1e-8)


def test_the_greedy_step_by_hand() -> None:
    policy = np.array([[0.5, 0.3, 0.2, 0.0]])
    best = best_in_neighborhood(policy, np.array([[0.0, 1.0, 2.0, 3.0]]), 1.5)
    # floors 0.25, 0.15, 0.1; half of the mass is free: 0.2 for the third, then 0.3 for the second
    assert best == pytest.approx(np.array([[0.25, 0.45, 0.3, 0.0]]))
    for C in (1.0, 2.0):
        with pytest.raises(ValueError, match="between 1 and 2"):
            best_in_neighborhood(policy, policy, C)


@pytest.mark.parametrize(("C", "iterations"), [(1.1, 300), (1.5, 80), (1.95, 160)])
def test_theorem_1_on_hundreds_of_mdps(C: float, iterations: int) -> None:
    for seed in range(100):
        _, mdp, policy = example(seed)
        last, values = improve_in_neighborhood(mdp, policy, C, iterations)
        best = mdp.optimal_value()
        scale = 1.0 + np.abs(values).max()
        assert np.diff(values, axis=0).min() > -1e-11 * scale, f"seed {seed}: a value fell"
        assert (best - values[-1]).max() < 1e-6 * scale, f"seed {seed}: the optimum was not reached"
        assert importance_ratios(policy, last)[0] > 0.0, f"seed {seed}: support was lost"


def test_theorem_1_needs_the_true_advantage() -> None:
    falls = 0
    for seed in range(20):
        rng, mdp, policy = example(seed)
        before = mdp.policy_value(policy)
        wrong = mdp.advantage(policy) + rng.normal(size=policy.shape)
        falls += bool((mdp.policy_value(best_in_neighborhood(policy, wrong, 1.5)) < before - 1e-6).any())
    assert falls > 5


def test_theorem_1_on_the_maze() -> None:
    mdp = build_maze()
    _, values = improve_in_neighborhood(mdp, np.full(mdp.R.shape, 0.25), 1.1, 300)
    start = values @ mdp.initial
    assert np.diff(start).min() > -1e-12
    assert start[-1] == pytest.approx(8.0103, abs=5e-5)


@given(seeds, st.floats(0.0, 1.0))
@same_each_time
def test_a_neighbor_is_as_near_as_said(seed: int, reach: float) -> None:
    rng, _, policy = example(seed)
    smallest, largest = importance_ratios(policy, random_neighbor(rng, policy, reach))
    assert np.exp(-2 * reach) - 1e-9 <= smallest <= largest <= np.exp(2 * reach) + 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"P": np.ones((3, 2, 3))}, "P: its rows"),
        ({"P": np.ones((3, 3))}, "P: shape"),
        ({"initial": np.array([0.5, 0.0, 0.0])}, "initial: its rows"),
        ({"initial": np.array([0.0, 0.0, 1.0])}, "can't begin in a terminal"),
        ({"terminal": np.array([False, True, True])}, "lead to itself alone"),
        ({"R": np.ones((3, 2))}, "lead to itself alone, with reward 0"),
        ({"gamma": 1.0}, "gamma=1.0: must lie strictly between"),
    ],
)
def test_what_is_no_mdp_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiniteMDP(**(vars(chain()) | change))


def test_occupancy_refuses_a_discount_of_one() -> None:
    with pytest.raises(ValueError, match="discount=1.0"):
        chain().occupancy(np.full((3, 2), 0.5), 1.0)
