"""The bounds of Deep SPI (arXiv 2510.12312) as functions of numbers, in the form whose constants can be computed.

Symbols: ``D = D_sup(pi_b, pi)``, the largest importance ratio of a policy ``pi`` to the behavior policy
``pi_b``; ``L_R``, ``L_P`` the local losses under data of ``pi_b``; ``K_V`` a Lipschitz constant of the latent
value function; ``gamma`` the discount. An episode ends in a state of value zero. A model that may be wrong about
*when* adds ``gamma V_max L_D``, with ``L_D = E |1[terminated] - D̄(phi(s), a, phi(s'))|`` and ``V_max`` the largest
absolute latent value. Where ``D̄`` depends on the next latent, what follows a step is ``(1 - D̄(z, a, z')) V̄(z')``,
and ``K_V`` must be a Lipschitz constant of *that* in ``z'``, too: a constant ``V̄`` alone would make it 0, whatever the
ends at the latents that the model dreams of.

Every function works on floats; a bound whose assumption fails is ``None``, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class LocalLosses(NamedTuple):
    """``L_R``, ``L_P`` (and ``L_D``) in true metrics, under one distribution of states and actions."""

    reward: float
    transition: float
    termination: float = 0.0


def model_error(losses: LocalLosses, gamma: float, K_V: float, V_max: float = 0.0) -> dict[str, float]:  # noqa: N803
    """The terms of ``L_R + gamma K_V L_P (+ gamma V_max L_D)`` by name, so that the dominating one can be told."""
    return {
        "reward": losses.reward,
        "transition": gamma * K_V * losses.transition,
        "termination": gamma * V_max * losses.termination,
    }


def inflation(D: float, gamma: float) -> float | None:  # noqa: N803
    """``1 / (1/D - gamma)``: what leaving ``pi_b`` by a ratio of ``D`` costs; ``None`` unless ``D < 1/gamma``.

    With ``D = 1`` it is the plain ``1 / (1 - gamma)`` of the simulation lemma.
    """
    return 1.0 / (1.0 / D - gamma) if D * gamma < 1.0 else None


def value_difference(error: float, D: float, gamma: float) -> float | None:  # noqa: N803
    """Theorem 2: bound of ``|rho(pi, M) - rho(pi̅, M̄)|``.

    Args:
        error: ``L_R + gamma K_V L_P``, under one of two distributions. Under the normalized occupancy of ``pi_b``
            discounted by ``gamma D`` the bound holds for the initial distribution. Under the stationary
            distribution of the episodic process it holds in expectation over that distribution, and for the
            initial state after multiplication with the average episode length.
        D: ``D_sup(pi_b, pi)``.
        gamma: discount.
    """
    factor = inflation(D, gamma)
    return None if factor is None else factor * error


def episodic_value_difference(errors: Sequence[float], D: float, gamma: float) -> float:  # noqa: N803
    """Theorem 2 for the initial distribution where every episode ends: ``D sum_t (gamma D)^t e_t``.

    It is ``value_difference`` under the occupancy discounted by ``gamma D``, written as the sum that it comes from:
    the ratio of trajectory probabilities up to step t is at most ``D^(t+1)``. For episodes of bounded length the
    sum is finite whatever ``D``, so that ``D < 1/gamma`` is not needed.

    Args:
        errors: ``e_t``, the mean over episodes of ``L_R + gamma K_V L_P`` at step t, 0 after an episode's end.
        D: ``D_sup(pi_b, pi)``.
        gamma: discount.
    """
    return D * sum((gamma * D) ** t * error for t, error in enumerate(errors))


def safe_improvement(
    error: float,
    error_behavior: float,
    D: float,
    gamma: float,
    D_behavior: float = 1.0,  # noqa: N803
) -> float | None:
    """Theorem 3's ``zeta``: with encoder and model fixed and both policies latent, the real improvement
    ``rho(pi, M) - rho(pi_0, M)`` is at least the dreamt one less ``zeta``.

    Args:
        error: ``L_R + gamma K_V L_P`` as in ``value_difference`` for ``pi``.
        error_behavior: the same for the policy ``pi_0`` that is improved on.
        D: ``D_sup(pi_b, pi)``.
        gamma: discount.
        D_behavior: ``D_sup(pi_b, pi_0)``: 1 where ``pi_0`` is the behavior policy itself, more where the encoder
            has moved since the data were gathered, so that the policy that a dream starts from is another.
    """
    of_policy, of_behavior = value_difference(error, D, gamma), value_difference(error_behavior, D_behavior, gamma)
    return None if of_policy is None or of_behavior is None else of_policy + of_behavior


def representation(error: float, D: float, gamma: float, p: float) -> float | None:  # noqa: N803
    """Theorem 4's ``eps``: with probability at least ``1 - 2p`` over two states from the stationary distribution
    of ``pi_b``, ``|V(s1) - V(s2)| <= K_V d(phi(s1), phi(s2)) + eps``, by Markov's inequality.

    Args:
        error: ``L_R + gamma K_V L_P`` under that stationary distribution.
        D: ``D_sup(pi_b, pi)``.
        gamma: discount.
        p: in (0, 1/2).
    """
    bound = value_difference(error, D, gamma)
    return None if bound is None else 2.0 / p * bound


def value_lipschitz(K_R: float, K_P: float, gamma: float) -> float | None:  # noqa: N803
    """``K_R / (1 - gamma K_P)``, a Lipschitz constant of the latent value function; ``None`` unless
    ``gamma K_P < 1``.

    Args:
        K_R: Lipschitz constant of the latent reward *under pi̅*: it includes how ``pi̅`` changes with ``z``.
        K_P: the same of the latent transition, in W1.
        gamma: discount.
    """
    return K_R / (1.0 - gamma * K_P) if gamma * K_P < 1.0 else None


def hoeffding_radius(largest: float, samples: int, p: float) -> float:
    """What to add to a mean of ``samples`` independent values in ``[0, largest]`` so that the expectation is below
    the sum with probability at least ``1 - p`` (Hoeffding 1963). Steps of one trajectory are not independent:
    use whole trajectories as samples where it matters.

    Raises:
        ValueError: no sample, a negative ``largest``, or ``p`` outside (0, 1).
    """
    if samples < 1 or largest < 0.0 or not 0.0 < p < 1.0:
        raise ValueError(f"samples={samples}, largest={largest}, p={p}: at least 1, at least 0, and within (0, 1)")
    return largest * math.sqrt(math.log(1.0 / p) / (2.0 * samples))


def largest_C(gamma: float) -> float:  # noqa: N802
    """The largest neighborhood constant (exclusive) for which ``D < 1/gamma`` follows from ``D <= C``."""
    return 1.0 / gamma


def largest_gamma(C: float) -> float:  # noqa: N802, N803
    """The largest discount (exclusive) for which ``D < 1/gamma`` follows from ``D <= C``."""
    return 1.0 / C
