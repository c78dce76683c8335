"""Wasserstein distances against closed forms and their dual, losses by hand, and the Lipschitz constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from planners.certificates.bounds import LocalLosses
from planners.finite.bounds import Abstraction, kantorovich, random_abstraction, random_metric, wasserstein
from planners.finite.mdp import FiniteMDP, random_mdp, random_policy

seeds = st.integers(0, 2**32 - 1)
same_each_time = settings(max_examples=60, deadline=None, derandomize=True)


def two_rooms() -> Abstraction:
    """Two states that one latent merges, and an end; one action. The states pay 1 and 3, the model says 2; the
    first goes to the second, the second ends, and the model believes in either with one half."""
    P = np.array([[[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]])
    mdp = FiniteMDP(P, np.array([[1.0], [3.0], [0.0]]), np.eye(3)[0], np.eye(3)[2] > 0, 0.5)
    latent = np.array([[[0.5, 0.5]], [[0.0, 1.0]]])
    model = FiniteMDP(latent, np.array([[2.0], [0.0]]), np.eye(2)[0], np.eye(2)[1] > 0, 0.5)
    return Abstraction(mdp, np.array([0, 0, 1]), model, np.array([[0.0, 4.0], [4.0, 0.0]]))


def example(seed: int) -> tuple[np.random.Generator, Abstraction, np.ndarray]:
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, int(rng.integers(3, 8)), 2, rng.uniform(0.3, 0.99))
    latents = int(rng.integers(2, len(mdp.R) + 1))
    world = random_abstraction(rng, mdp, latents, rng.choice([0.0, 0.3]), plane=rng.random() < 0.7)
    return rng, world, random_policy(rng, latents, 2)


@given(seeds)
@same_each_time
def test_wasserstein_closed_forms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    K, scale = int(rng.integers(2, 7)), rng.uniform(0.1, 5.0)
    p, q = rng.dirichlet(np.full(K, 0.5), size=(2, 4))
    discrete = scale * random_metric(rng, K, plane=False)
    assert wasserstein(p, q, discrete) == pytest.approx(scale * np.abs(p - q).sum(-1) / 2.0)
    assert kantorovich(p, q, discrete) == pytest.approx(wasserstein(p, q, discrete), abs=1e-8)
    points = rng.normal(size=K)
    line = np.abs(points[:, None] - points)
    expected = [wasserstein_distance(points, points, one, other) for one, other in zip(p, q, strict=True)]
    assert wasserstein(p, q, line) == pytest.approx(expected, abs=1e-8)


@given(seeds)
@same_each_time
def test_wasserstein_is_the_cheapest_transport(seed: int) -> None:
    rng = np.random.default_rng(seed)
    K = int(rng.integers(3, 7))
    metric = random_metric(rng, K, plane=True)
    p, q = rng.dirichlet(np.ones(K), size=2)
    rows, columns = np.kron(np.eye(K), np.ones(K)), np.kron(np.ones(K), np.eye(K))
    cheapest = linprog(metric.ravel(), A_eq=np.vstack((rows, columns)), b_eq=np.concatenate((p, q)))
    assert float(wasserstein(p, q, metric)) == pytest.approx(cheapest.fun, abs=1e-8)


def test_small_distances_are_as_exact_as_large_ones() -> None:
    rng = np.random.default_rng(0)
    metric = random_metric(rng, 4, plane=True)
    p, q = rng.dirichlet(np.ones(4), size=(2, 5))
    near = p + 1e-9 * (q - p)
    assert wasserstein(p, near, metric) == pytest.approx(1e-9 * wasserstein(p, q, metric), rel=1e-5)
    assert (wasserstein(p, p, metric) == 0.0).all()


def test_wasserstein_takes_any_batch() -> None:
    rng = np.random.default_rng(0)
    metric = random_metric(rng, 4, plane=True)
    p, q = rng.dirichlet(np.ones(4), size=(2, 3, 5))
    found = wasserstein(p, q, metric)
    assert found.shape == (3, 5)
    assert found[1, 2] == pytest.approx(float(wasserstein(p[1, 2], q[1, 2], metric)), abs=1e-9)
    assert wasserstein(p[0, 0], q, metric)[2, 4] == pytest.approx(float(wasserstein(p[0, 0], q[2, 4], metric)))
    with pytest.raises(ValueError, match="different mass"):
        wasserstein(p[0], 2.0 * q[0], metric)


def test_losses_and_constants_by_hand() -> None:
    world = two_rooms()
    only = np.ones((3, 1))
    assert world.reward_error == pytest.approx(np.array([[1.0], [1.0], [0.0]]))
    assert world.transition_error == pytest.approx(np.array([[2.0], [2.0], [0.0]]))  # half of the mass, 4 far
    assert world.losses(np.array([0.5, 0.25, 0.25]), only) == LocalLosses(0.75, 1.5)
    # V = 1 + 0.5 * 3 and 3; the model's is 2 / (1 - 0.25)
    assert world.value_error(np.ones((2, 1))) == pytest.approx([8 / 3 - 2.5, 3 - 8 / 3, 0.0])
    latent = np.ones((2, 1))
    constants = [world.K_V(latent), world.K_R(latent), world.K_P(latent), world.K_V_bound(latent)]
    assert constants == pytest.approx([2 / 3, 0.5, 0.5, 2 / 3])


@given(seeds)
@same_each_time
def test_the_constants_bound_what_they_should(seed: int) -> None:
    rng, world, policy = example(seed)
    bound = world.K_V_bound(policy)
    assert (bound is None) == (world.mdp.gamma * world.K_P(policy) >= 1.0)
    if bound is not None:
        assert world.K_V(policy) <= bound * (1.0 + 1e-9)
    value, P = world.model.policy_value(policy), world.model.transition(policy)
    assert (np.abs(value[:, None] - value) <= world.K_V(policy) * world.metric + 1e-9).all()
    one, other = rng.integers(len(P), size=2)  # what K_V is for: it turns distances of distributions into values
    moved = abs(P[one] @ value - P[other] @ value)
    assert moved <= world.K_V(policy) * float(wasserstein(P[one], P[other], world.metric)) + 1e-8
    assert moved <= world.K_V(policy) * world.K_P(policy) * world.metric[one, other] + 1e-8


def test_the_constants_are_no_larger_than_needed() -> None:
    tight = 0
    for seed in range(60):
        _, world, policy = example(seed)
        bound = world.K_V_bound(policy)
        tight += bound is not None and world.K_V(policy) > 0.9 * bound
    assert tight >= 5


def test_every_state_its_own_latent_and_no_noise_is_no_loss() -> None:
    rng = np.random.default_rng(1)
    mdp = random_mdp(rng, 6, 3, 0.9)
    world = random_abstraction(rng, mdp, 6, noise=0.0, plane=True)
    assert world.reward_error.max() == pytest.approx(0.0)
    assert world.transition_error.max() == pytest.approx(0.0, abs=1e-9)
    assert world.value_error(random_policy(rng, 6, 3)).max() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phi": np.array([0, 0, 2])}, "phi: must name"),
        ({"phi": np.array([0, 1, 1])}, "phi: terminal states, and only these"),
        ({"metric": np.array([[0.0, 1.0], [2.0, 0.0]])}, "metric: must be symmetric"),
        ({"metric": np.zeros((2, 2))}, "metric: must be symmetric, 0 only on the diagonal"),
        ({"metric": np.ones((3, 3)) - np.eye(3)}, "metric: must be"),
        ({"mdp": random_mdp(np.random.default_rng(0), 3, 1, 0.9)}, "model: must have the MDP's discount"),
        ({"mdp": random_mdp(np.random.default_rng(0), 3, 2, 0.5)}, "model: must have the MDP's discount and actions"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Abstraction(**({key: getattr(two_rooms(), key) for key in ("mdp", "phi", "model", "metric")} | change))


def test_a_metric_keeps_the_triangle_inequality() -> None:
    rng = np.random.default_rng(0)
    world = random_abstraction(rng, random_mdp(rng, 4, 2, 0.9), 3, noise=0.1, plane=True)
    far = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 1.0], [3.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match="triangle"):
        Abstraction(world.mdp, world.phi, world.model, far)
    elsewhere = FiniteMDP(world.model.P, world.model.R, np.array([0.0, 1.0, 0.0]), world.model.terminal, 0.9)
    with pytest.raises(ValueError, match="must begin where"):
        Abstraction(world.mdp, world.phi, elsewhere, world.metric)
