"""The bounds as functions of numbers: closed forms, limits, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planners.bounds import (
    LocalLosses,
    episodic_value_difference,
    hoeffding_radius,
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
    parts = model_error(LocalLosses(0.1, 0.2, 0.3), 0.9, K_V=2.0, V_max=5.0)
    assert parts == {
        "reward": pytest.approx(0.1),
        "transition": pytest.approx(0.36),
        "termination": pytest.approx(1.35),
    }


def test_lipschitz_constant_of_the_value() -> None:
    assert value_lipschitz(1.0, 0.5, 0.9) == pytest.approx(1 / 0.55)
    assert value_lipschitz(1.0, 1 / 0.9, 0.9) is None


def test_hoeffdings_radius_covers() -> None:
    """The upper limit is below the truth in at most a share p of samples, and not in vain: 10 times p = 0.05."""
    generator, p, covered, runs = np.random.default_rng(0), 0.05, 0, 4000
    for _ in range(runs):
        sample = generator.random(30) < 0.3
        covered += sample.mean() + hoeffding_radius(1.0, 30, p) >= 0.3
    assert covered / runs >= 1 - p
    assert hoeffding_radius(2.0, 30, p) == pytest.approx(2.0 * math.sqrt(math.log(20) / 60))


@pytest.mark.parametrize(("largest", "samples", "p"), [(1.0, 0, 0.1), (-1.0, 5, 0.1), (1.0, 5, 0.0), (1.0, 5, 1.0)])
def test_no_radius_without_samples(largest: float, samples: int, p: float) -> None:
    with pytest.raises(ValueError, match="samples="):
        hoeffding_radius(largest, samples, p)
