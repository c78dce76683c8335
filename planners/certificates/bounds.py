"""The bounds of Deep SPI (arXiv 2510.12312) as functions of numbers, in the form whose constants can be computed.

Symbols: ``D = D_sup(pi_b, pi)``, the largest importance ratio of a policy ``pi`` to the behavior policy
``pi_b``; ``L_R``, ``L_P`` the local losses under data of ``pi_b``; ``K_V`` a Lipschitz constant of the latent
value function; ``gamma`` the discount. An episode ends in a state of value zero. A model that may be wrong about
*when* adds ``gamma V_max L_D``, with ``L_D = E |1[terminated] - D̄(phi(s), a, phi(s'))|`` and ``V_max`` the largest
absolute latent value at ``phi(s')``. Where ``D̄`` depends on the next latent, what follows a step is
``(1 - D̄(z, a, z')) V̄(z')``, and ``K_V`` must be a Lipschitz constant of *that* in ``z'``, too: a constant ``V̄`` alone
would make it 0, whatever the ends at the latents that the model dreams of.

An episode that a time limit cuts off would have gone on from ``s'``, where ``|V - V̄|`` is at most
``B = max |r| / (1 - gamma) + V_max``. So each cut adds ``gamma B`` to the error of its step: summed over an episode
that is the tail ``(gamma D)^T B``, and under the stationary distribution of the process that begins anew after a cut
it keeps the proof of Theorem 2.

Every function works on floats; a bound whose assumption fails is ``None``, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class LocalLosses(NamedTuple):
    """``L_R``, ``L_P`` (and ``L_D``) in true metrics, and the share of steps that are cut off, under one
    distribution of states and actions."""

    reward: float
    transition: float
    termination: float = 0.0
    cut: float = 0.0


def error_weights(gamma: float, K_V: float, V_max: float = 0.0, beyond: float = 0.0) -> LocalLosses:  # noqa: N803
    """What each local loss counts in the error of the model; ``beyond`` is ``B``, see above."""
    return LocalLosses(1.0, gamma * K_V, gamma * V_max, gamma * beyond)


def model_error(
    losses: LocalLosses,
    gamma: float,
    K_V: float,  # noqa: N803
    V_max: float = 0.0,  # noqa: N803
    beyond: float = 0.0,
) -> dict[str, float]:
    """The terms of ``L_R + gamma K_V L_P (+ gamma V_max L_D + gamma B cut)`` by name, so that the dominating one can
    be told."""
    weights = error_weights(gamma, K_V, V_max, beyond)
    return {name: weight * loss for name, weight, loss in zip(weights._fields, weights, losses, strict=True)}


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


def value_lipschitz(K_R: float, K_P: float, gamma: float, K_D: float = 0.0, V_max: float = 0.0) -> float | None:  # noqa: N803
    """``(K_R + gamma (1 + K_P) K_D V_max) / (1 - gamma K_P)``, a Lipschitz constant of the latent value function;
    ``None`` unless ``gamma K_P < 1``.

    As ``V̄(z) = R̄(z) + gamma E[(1 - D̄(z, z')) V̄(z')]``, between two latents at distance 1 the reward differs by ``K_R``;
    for the same ``z'`` the ends differ by ``K_D``, worth ``K_D V_max``; and what follows a step is
    ``(K_V + K_D V_max)``-Lipschitz in ``z'``, which differs by ``K_P``. Without ends it is the paper's
    ``K_R / (1 - gamma K_P)``.

    Args:
        K_R: Lipschitz constant of the latent reward *under pi̅*: it includes how ``pi̅`` changes with ``z``.
        K_P: the same of the latent transition, in W1.
        gamma: discount.
        K_D: the same of the probability of an end, in each of its two latents.
        V_max: largest absolute latent value.
    """
    return (K_R + gamma * (1.0 + K_P) * K_D * V_max) / (1.0 - gamma * K_P) if gamma * K_P < 1.0 else None


def largest_C(gamma: float) -> float:  # noqa: N802
    """The largest neighborhood constant (exclusive) for which ``D < 1/gamma`` follows from ``D <= C``."""
    return 1.0 / gamma if gamma > 0.0 else math.inf


def largest_gamma(C: float) -> float:  # noqa: N802, N803
    """The largest discount (exclusive) for which ``D < 1/gamma`` follows from ``D <= C``."""
    return 1.0 / C
