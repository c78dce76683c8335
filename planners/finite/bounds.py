"""A finite MDP beside a latent model of it: exact Wasserstein losses and exact Lipschitz constants.

Both the world and its model end episodes in states of value zero, and the encoder sends terminal states, and only
these, to terminal latents. An ending at the wrong time is so an error of the transition, and no third loss is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import block_diag, csr_array

from planners.certificates.bounds import LocalLosses, value_lipschitz
from planners.finite.mdp import FiniteMDP


def wasserstein(p: np.ndarray, q: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """1-Wasserstein distances ``[...]`` between distributions ``p``, ``q`` ``[..., K]`` for a metric ``[K, K]``.

    By ``kantorovich``, or, where all points are equally far from each other, as that distance times the total
    variation.
    """
    K = len(metric)
    p, q = np.broadcast_arrays(p, q)
    apart = metric[~np.eye(K, dtype=bool)]
    if (apart == apart[:1]).all():
        return (apart[0] if K > 1 else 0.0) * np.abs(p - q).sum(-1) / 2.0
    return kantorovich(p.reshape(-1, K), q.reshape(-1, K), metric).reshape(p.shape[:-1])


def kantorovich(p: np.ndarray, q: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """``W(p, q) = max_f sum_i f_i (p_i - q_i)`` over ``f_i - f_j <= d_ij``, for ``p``, ``q`` ``[N, K]``; ``[N]``.

    One linear program for all pairs together, as they share no variable. This side of the duality has a solution
    however the masses are rounded, and equal distributions are exactly 0 apart.

    Raises:
        ValueError: ``p`` and ``q`` differ in mass.
    """
    if not np.allclose(p.sum(1), q.sum(1)):
        raise ValueError("distributions of different mass have no Wasserstein distance")
    N, K = p.shape
    variation = np.abs(p - q).sum(1) / 2.0
    direction = (p - q) / np.where(variation > 0.0, variation, 1.0)[:, None]  # small differences count as large ones
    one, other = np.nonzero(~np.eye(K, dtype=bool))
    slopes = block_diag([csr_array(np.eye(K)[one] - np.eye(K)[other])] * N, format="csr")
    bounds = ([(0.0, 0.0)] + [(None, None)] * (K - 1)) * N  # f is free up to a constant
    found = linprog(-direction.ravel(), A_ub=slopes, b_ub=np.tile(metric[one, other], N), bounds=bounds)
    if found.status != 0:
        raise ArithmeticError(f"the linear program of a Wasserstein distance failed: {found.message}")
    return variation * (found.x.reshape(N, K) * direction).sum(1)


@dataclass(frozen=True)
class Abstraction:
    """An MDP, an encoder of its states, and a model on latents with their metric.

    Raises:
        ValueError: shapes or discounts that don't fit, an encoder that mixes terminal and other states, a ``model``
            that begins elsewhere than ``phi`` of where episodes begin, a ``metric`` that is none.
    """

    mdp: FiniteMDP
    phi: np.ndarray
    """``[S]`` int, the latent of each state."""
    model: FiniteMDP
    """``P̄``, ``R̄`` as an MDP of ``K`` states with the same actions and discount."""
    metric: np.ndarray
    """``[K, K]`` distances ``d`` between latents."""

    def __post_init__(self) -> None:
        K, d = len(self.model.R), self.metric
        if self.phi.shape != self.mdp.terminal.shape or not ((self.phi >= 0) & (self.phi < K)).all():
            raise ValueError("phi: must name one of the model's latents for every state")
        if self.model.gamma != self.mdp.gamma or self.model.R.shape[1] != self.mdp.R.shape[1]:
            raise ValueError("model: must have the MDP's discount and actions")
        if (self.model.terminal[self.phi] != self.mdp.terminal).any():
            raise ValueError("phi: terminal states, and only these, have terminal latents")
        if not np.allclose(self.model.initial, self.encoded(self.mdp.initial)):
            raise ValueError("model: must begin where the encoder sends the first state of an episode")
        positive = d.shape == (K, K) and (d[~np.eye(K, dtype=bool)] > 0).all() and not d.diagonal().any()
        if not positive or (d != d.T).any() or (d[:, None] > (d[:, :, None] + d).min(1)[:, None] + 1e-9).any():
            raise ValueError("metric: must be symmetric, 0 only on the diagonal, and keep the triangle inequality")

    def encoded(self, distribution: np.ndarray) -> np.ndarray:
        """``phi#mu``, ``[..., K]``, of distributions ``[..., S]`` over states."""
        return distribution @ np.eye(len(self.model.R))[self.phi]

    def deployed(self, latent_policy: np.ndarray) -> np.ndarray:
        """``pi = pi̅ ∘ phi``, ``[S, A]``, of a latent policy ``[K, A]``."""
        return latent_policy[self.phi]

    @cached_property
    def reward_error(self) -> np.ndarray:
        """``|R(s, a) - R̄(phi(s), a)|``, ``[S, A]``."""
        return np.abs(self.mdp.R - self.model.R[self.phi])

    @cached_property
    def transition_error(self) -> np.ndarray:
        """``W(phi#P(.|s, a), P̄(.|phi(s), a))``, ``[S, A]``."""
        return wasserstein(self.encoded(self.mdp.P), self.model.P[self.phi], self.metric)

    def losses(self, distribution: np.ndarray, behavior: np.ndarray) -> LocalLosses:
        """``L_R``, ``L_P`` over states from ``distribution [S]`` and actions from ``behavior [S, A]``."""
        weight = distribution[:, None] * behavior
        return LocalLosses(float((weight * self.reward_error).sum()), float((weight * self.transition_error).sum()))

    def value_error(self, latent_policy: np.ndarray) -> np.ndarray:
        """``e(s) = |V^pi(s) - V̄^pi̅(phi(s))|``, ``[S]``."""
        latent_value = self.model.policy_value(latent_policy)
        return np.abs(self.mdp.policy_value(self.deployed(latent_policy)) - latent_value[self.phi])

    def K_V(self, latent_policy: np.ndarray) -> float:
        """The smallest Lipschitz constant of ``V̄^pi̅``: the largest slope over all pairs of latents."""
        value = self.model.policy_value(latent_policy)
        return self._steepest(np.abs(value[:, None] - value))

    def K_R(self, latent_policy: np.ndarray) -> float:
        """The same of the latent reward under ``pi̅``."""
        reward = (latent_policy * self.model.R).sum(1)
        return self._steepest(np.abs(reward[:, None] - reward))

    def K_P(self, latent_policy: np.ndarray) -> float:
        """The same of the latent transition under ``pi̅``, in W1."""
        P = self.model.transition(latent_policy)
        one, other = np.triu_indices(len(P), 1)
        return float((wasserstein(P[one], P[other], self.metric) / self.metric[one, other]).max(initial=0.0))

    def K_V_bound(self, latent_policy: np.ndarray) -> float | None:
        """``K_R / (1 - gamma K_P)``, at least ``K_V``; None unless ``gamma K_P < 1``."""
        return value_lipschitz(self.K_R(latent_policy), self.K_P(latent_policy), self.mdp.gamma)

    def _steepest(self, difference: np.ndarray) -> float:
        apart = ~np.eye(len(difference), dtype=bool)
        return float((difference[apart] / self.metric[apart]).max(initial=0.0))


def random_metric(rng: np.random.Generator, latents: int, plane: bool) -> np.ndarray:
    """``[K, K]``: distances of random points of the unit square (``plane``), or 1 between any two latents."""
    points = rng.uniform(size=(latents, 2))
    if plane:
        return np.linalg.norm(points[:, None] - points, axis=-1)
    return 1.0 - np.eye(latents)


def random_abstraction(
    rng: np.random.Generator, mdp: FiniteMDP, latents: int, noise: float, plane: bool
) -> Abstraction:
    """A random encoder, and the model that averages the states it merges, moved away from the truth by ``noise``.

    Args:
        rng: where chance comes from.
        mdp: its last state must be the only terminal one.
        latents: ``K``, from 2 to ``S``; the last is the terminal latent.
        noise: share of a random transition in ``P̄``, and size of the error of ``R̄``.
        plane: the latents' metric, see ``random_metric``.
    """
    states, actions = mdp.R.shape
    inner = np.append(np.arange(latents - 1), rng.integers(latents - 1, size=states - latents))
    phi = np.append(rng.permutation(inner), latents - 1)
    members = np.eye(latents)[phi]
    share = (members / members.sum(0)).T
    other = rng.dirichlet(np.full(latents, 0.5), size=(latents, actions))
    P = (1.0 - noise) * np.einsum("zs,sat,tk->zak", share, mdp.P, members) + noise * other
    R = share @ mdp.R + noise * rng.normal(size=(latents, actions))
    P[-1], R[-1] = members[-1], 0.0
    model = FiniteMDP(P, R, mdp.initial @ members, members[-1].astype(bool), mdp.gamma)
    return Abstraction(mdp, phi, model, random_metric(rng, latents, plane))
