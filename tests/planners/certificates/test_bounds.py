"""The bounds as functions of numbers: closed forms, limits, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planners.certificates.bounds import (
    LocalLosses,
    episodic_value_difference,
    error_weights,
    inflation,
    largest_C,
    largest_gamma,
    model_error,
    representation,
    safe_improvement,
    value_difference,
    value_lipschitz,
)


def test_with_the_same_policy_it_is_the_simulation_bound() -> None:
    assert value_difference(0.3, 1.0, 0.9) == pytest.approx(3.0)


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_the_limit_of_the_ratio(gamma: float) -> None:
    limit = largest_C(gamma)
    assert inflation(limit - 1e-6, gamma) is not None and inflation(limit, gamma) is None
    assert value_difference(1.0, limit + 0.1, gamma) is None
    assert safe_improvement(1.0, 1.0, limit + 0.1, gamma) is None
    assert safe_improvement(1.0, 1.0, 1.0, gamma, limit + 0.1) is None
    assert representation(1.0, limit + 0.1, gamma, 0.1) is None
    assert largest_gamma(limit) == pytest.approx(gamma)


def test_the_papers_defaults_are_outside_their_theory() -> None:
    assert largest_C(0.99) == pytest.approx(1.0101, abs=1e-4)
    assert inflation(1.1, 0.99) is None


def test_zeta_is_two_bounds() -> None:
    zeta = safe_improvement(0.2, 0.1, 1.05, 0.9)
    assert zeta == pytest.approx(0.2 / (1 / 1.05 - 0.9) + 0.1 / (1 - 0.9))
    moved = safe_improvement(0.2, 0.1, 1.05, 0.9, 1.02)
    assert moved == pytest.approx(0.2 / (1 / 1.05 - 0.9) + 0.1 / (1 / 1.02 - 0.9))


@pytest.mark.parametrize("D", [1.0, 1.05, 1.3])
def test_whole_episodes_give_the_sum_that_the_bound_comes_from(D: float) -> None:  # noqa: N803
    """For D < 1/gamma, a constant error for ever is the closed form; any D gives a finite sum for finite episodes."""
    gamma = 0.9
    bound = episodic_value_difference([0.3] * 3000, D, gamma) if D * gamma < 1 else None
    if bound is not None:
        assert bound == pytest.approx(value_difference(0.3, D, gamma))
    assert episodic_value_difference([1.0, 2.0], D, gamma) == pytest.approx(D * (1 + 2 * gamma * D))


def test_terms_of_the_model_error() -> None:
    parts = model_error(LocalLosses(0.1, 0.2, 0.3, 0.01), 0.9, K_V=2.0, V_max=5.0, beyond=50.0)
    assert parts == {
        "reward": pytest.approx(0.1),
        "transition": pytest.approx(0.36),
        "termination": pytest.approx(1.35),
        "cut": pytest.approx(0.45),
    }


def test_without_discount_any_ratio_is_allowed() -> None:
    assert largest_C(0.0) == math.inf and inflation(1.5, 0.0) == pytest.approx(1.5)
    assert inflation(math.inf, 0.0) is None and inflation(math.inf, 0.9) is None


def test_lipschitz_constant_of_the_value() -> None:
    assert value_lipschitz(1.0, 0.5, 0.9) == pytest.approx(1 / 0.55)
    assert value_lipschitz(1.0, 1 / 0.9, 0.9) is None


def test_ends_make_a_value_steeper_than_its_rewards() -> None:
    """Two latents that stay where they are and pay 1; in the second, half of all episodes end at each step."""
    value = np.linalg.solve(np.eye(2) - 0.9 * np.diag([1.0, 0.5]), np.ones(2))
    K_V = value_lipschitz(0.0, 1.0, 0.9, K_D=0.5, V_max=10.0)  # noqa: N806
    assert value_lipschitz(0.0, 1.0, 0.9) == 0.0 < abs(value[0] - value[1]) <= K_V


@pytest.mark.parametrize("seed", range(200))
def test_lipschitz_constant_of_a_value_with_ends(seed: int) -> None:
    """Latents at distance 1 of each other; the constants are exact, the probability of an end depends on both."""
    rng = np.random.default_rng(seed)
    K, gamma = int(rng.integers(2, 5)), rng.uniform(0.3, 0.95)
    first, share = rng.dirichlet(np.ones(K)), rng.uniform(0.0, 1.0)
    P = share * first + (1 - share) * rng.dirichlet(np.ones(K), size=K)
    R, ends = rng.normal(size=K), rng.uniform(0, rng.choice([0.0, 0.2, 1.0]), size=(K, K))
    value = np.linalg.solve(np.eye(K) - gamma * P * (1 - ends), R)
    K_R, K_P = np.ptp(R), max(np.abs(p - q).sum() / 2 for p in P for q in P)  # noqa: N806
    K_D = max(np.ptp(ends, axis=0).max(), np.ptp(ends, axis=1).max())  # noqa: N806
    V_max = np.abs(value).max()  # noqa: N806
    K_V = value_lipschitz(K_R, K_P, gamma, K_D, V_max)  # noqa: N806
    assert np.ptp(value) <= K_V + 1e-9
    assert np.ptp((1 - ends) * value, axis=1).max() <= K_V + K_D * V_max + 1e-9


@pytest.mark.parametrize("seed", range(200))
def test_theorem_2_where_episodes_end_and_are_cut_off(seed: int) -> None:
    """The world and its model end episodes as they like, and a time limit cuts them off; all is exact.

    States are latents, at distance 1 of each other. What the model gets wrong is one of reward, transition and end,
    or all of them, and always to the same side, so that no term can be missed.
    """
    rng = np.random.default_rng(seed)
    S, A, gamma = int(rng.integers(2, 5)), 2, rng.uniform(0.4, 0.95)
    behavior = rng.dirichlet(np.ones(A), size=S)
    policy = behavior + rng.choice([0.0, 0.05]) * (rng.dirichlet(np.ones(A), size=S) - behavior)
    D = (policy / behavior).max()
    first = rng.dirichlet(np.ones(S))
    P, R = _tables(rng, S, A), rng.uniform(0, 1, size=(S, A))
    ends = rng.uniform(0, rng.choice([0.0, 0.1]), size=(S, A, S))
    wrong = rng.choice([0.0, 0.1, 0.5]) * (np.eye(3)[rng.integers(3)] if rng.random() < 0.8 else np.ones(3))
    R_m = R + wrong[0]  # noqa: N806
    P_m = (1 - wrong[1]) * P + wrong[1] * np.eye(S)[R.mean(1).argmax()]  # noqa: N806
    ends_m = (1 - wrong[2]) * ends
    value, value_m = _value(P, R, ends, policy, gamma), _value(P_m, R_m, ends_m, policy, gamma)
    truth = np.abs(value - value_m)
    V_max, beyond = np.abs(value_m).max(), np.abs(R).max() / (1 - gamma) + np.abs(value_m).max()  # noqa: N806
    K_V = np.ptp((1 - ends_m) * value_m, axis=2).max()  # noqa: N806
    cut = rng.choice([0.0, 0.05, 0.3])
    at_end = (P * (ends * (1 - ends_m) + (1 - ends) * ends_m)).sum(2)
    losses = np.abs(R - R_m), np.abs(P - P_m).sum(2) / 2, at_end, cut * (P * (1 - ends)).sum(2)
    weights = error_weights(gamma, K_V, V_max, beyond)
    error = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
    error = (behavior * error).sum(1)  # of each state
    going_on = np.einsum("sa,sat->st", behavior, P * (1 - ends)) * (1 - cut)
    restart = going_on + np.outer(1 - going_on.sum(1), first)
    stationary = np.linalg.matrix_power(restart, 2048)[0]
    bound = value_difference(stationary @ error, D, gamma)
    if bound is not None:
        assert stationary @ truth <= bound + 1e-9
    if gamma * D * np.abs(np.linalg.eigvals(going_on)).max() < 0.95:  # else the sum has no end, or hardly
        reached, by_step = first, []
        for _ in range(600):
            by_step.append(reached @ error)
            reached = reached @ going_on
        assert first @ truth <= episodic_value_difference(by_step, D, gamma) + 1e-6


def _tables(rng: np.random.Generator, S: int, A: int) -> np.ndarray:  # noqa: N803
    return rng.dirichlet(np.ones(S), size=(S, A))


def _value(P: np.ndarray, R: np.ndarray, ends: np.ndarray, policy: np.ndarray, gamma: float) -> np.ndarray:  # noqa: N803
    following = np.einsum("sa,sat->st", policy, P * (1 - ends))
    return np.linalg.solve(np.eye(len(R)) - gamma * following, (policy * R).sum(1))
