"""Finite MDPs and tabular policies, on which every quantity of the theory is a number and not an estimate.

A policy is a table ``[S, A]`` of probabilities. Values come from linear systems and hold to about 1e-12 of the
largest value. Theorem 1 of Deep SPI (arXiv 2510.12312) is ``improve_in_neighborhood``; what compares an MDP with a
latent model of it stands in ``planners/finite/bounds.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planners.neighborhood import interval


class EpisodicProcess(NamedTuple):
    """Episode after episode under one policy, as one endless chain of the states in which it acts."""

    distribution: np.ndarray  # [S], the chain's stationary distribution: 0 in terminal states, where nobody acts
    episode_length: float  # AEL, the expected number of actions in an episode


@dataclass(frozen=True)
class FiniteMDP:
    """An episodic MDP in tables of ``S`` states and ``A`` actions.

    Raises:
        ValueError: shapes that don't fit, rows that are no distributions, an episode that begins in a terminal
            state, a terminal state that is not absorbing or pays, ``gamma`` outside (0, 1).
    """

    P: np.ndarray
    """``[S, A, S]`` transition probabilities; terminal states are absorbing."""
    R: np.ndarray
    """``[S, A]`` rewards, 0 in terminal states."""
    initial: np.ndarray
    """``[S]`` distribution of an episode's first state."""
    terminal: np.ndarray
    """``[S]`` bool."""
    gamma: float

    def __post_init__(self) -> None:
        S, A = self.R.shape
        for name, shape in (("P", (S, A, S)), ("initial", (S,)), ("terminal", (S,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: shape {getattr(self, name).shape}, but R asks for {shape}")
        for name in ("P", "initial"):
            table = getattr(self, name)
            if (table < 0).any() or not np.allclose(table.sum(-1), 1.0):
                raise ValueError(f"{name}: its rows must be probability distributions")
        if self.initial[self.terminal].any():
            raise ValueError("initial: an episode can't begin in a terminal state")
        if self.R[self.terminal].any() or not (self.P[self.terminal] == np.eye(S)[self.terminal][:, None]).all():
            raise ValueError("terminal: such a state must lead to itself alone, with reward 0")
        if not 0.0 < self.gamma < 1.0:
            raise ValueError(f"gamma={self.gamma}: must lie strictly between 0 and 1")

    def transition(self, policy: np.ndarray) -> np.ndarray:
        """``P_pi[s, t] = sum_a pi(a|s) P[s, a, t]``, ``[S, S]``."""
        return np.einsum("sa,sat->st", policy, self.P)

    def policy_value(self, policy: np.ndarray) -> np.ndarray:
        """``V[s]`` of a policy ``[S, A]``: solves ``(I - gamma P_pi) V = R_pi``, where terminal states lead nowhere, so
        that theirs is exactly 0."""
        P_pi = self.transition(policy) * ~self.terminal[:, None]
        return np.linalg.solve(np.eye(len(self.R)) - self.gamma * P_pi, (policy * self.R).sum(1))

    def action_value(self, value: np.ndarray) -> np.ndarray:
        """``Q[s, a] = R[s, a] + gamma sum_t P[s, a, t] V[t]``, ``[S, A]``, for values ``[S]``."""
        return self.R + self.gamma * self.P @ value

    def advantage(self, policy: np.ndarray) -> np.ndarray:
        """``A[s, a] = Q[s, a] - V[s]`` of a policy ``[S, A]``; its mean under the policy is 0 in every state."""
        value = self.policy_value(policy)
        return self.action_value(value) - value[:, None]

    def rho(self, policy: np.ndarray) -> float:
        """Expected value of a policy ``[S, A]`` in an episode's first state."""
        return float(self.initial @ self.policy_value(policy))

    def optimal_policy(self) -> np.ndarray:
        """A deterministic best policy ``[S, A]``, by policy iteration (ends: every turn improves)."""
        best = np.zeros(len(self.R), dtype=int)
        while True:
            value = self.policy_value(np.eye(self.R.shape[1])[best])
            Q = self.action_value(value)
            improves = Q.max(1) > value + 1e-11 * (1.0 + np.abs(value).max())
            if not improves.any():
                return np.eye(self.R.shape[1])[best]
            best = np.where(improves, Q.argmax(1), best)

    def optimal_value(self) -> np.ndarray:
        """``V[s]`` of the best policy."""
        return self.policy_value(self.optimal_policy())

    def visited(self, policy: np.ndarray) -> np.ndarray:
        """``[S]`` bool: states that a policy reaches from an episode's beginning, its end included."""
        return _closure(self.transition(policy) > 0, self.initial > 0)

    def occupancy(self, policy: np.ndarray, discount: float) -> np.ndarray:
        """``[S]``: ``(1 - discount) sum_t discount^t Pr(s_t = s)`` from the initial distribution.

        A finished episode stays in its terminal state and goes on counting there, so the sum over all states is 1.

        Raises:
            ValueError: ``discount`` outside [0, 1).
        """
        if not 0.0 <= discount < 1.0:
            raise ValueError(f"discount={discount}: must be at least 0 and below 1")
        system = np.eye(len(self.R)) - discount * self.transition(policy).T
        return (1.0 - discount) * np.linalg.solve(system, self.initial)

    def episodes(self, policy: np.ndarray) -> EpisodicProcess:
        """The process under a policy ``[S, A]`` in which reaching a terminal state starts the next episode at once.

        With ``n(s)`` the expected number of actions taken in ``s`` per episode, ``n = initial + P_pi^T n`` over the
        states in which one acts, the average episode length is ``AEL = sum n`` and the distribution is ``n / AEL``.
        So ``distribution >= initial / AEL``: what Theorem 2 uses for the initial state.

        Raises:
            ValueError: episodes of this policy need not end.
        """
        P = self.transition(policy)
        acting = self.visited(policy) & ~self.terminal
        if not _closure(P.T > 0, self.terminal)[acting].all():
            raise ValueError("episodes of this policy need not end: it has no average episode length")
        visits = np.zeros(len(P))
        inner = P[np.ix_(acting, acting)]
        visits[acting] = np.linalg.solve(np.eye(len(inner)) - inner.T, self.initial[acting])
        return EpisodicProcess(visits / visits.sum(), float(visits.sum()))


def _closure(links: np.ndarray, start: np.ndarray) -> np.ndarray:
    """``[S]`` bool: what can be reached from ``start [S]`` over ``links [S, S]``, itself included."""
    while True:
        grown = start | links[start].any(0)
        if (grown == start).all():
            return start
        start = grown


def importance_ratios(policy: np.ndarray, other: np.ndarray, states: np.ndarray | None = None) -> tuple[float, float]:
    """``(D_inf, D_sup)`` from ``policy`` to ``other``: the extremes of ``other(a|s) / policy(a|s)``.

    An action that ``other`` alone can take makes ``D_sup`` infinite, as then no bound holds; one that neither takes
    does not count.

    Args:
        policy: ``[S, A]``, the policy that is departed from.
        other: ``[S, A]``, the policy that is measured.
        states: ``[S]`` bool, the states that ``policy`` visits; without it, all.
    """
    if states is not None:
        policy, other = policy[states], other[states]
    possible = (policy > 0) | (other > 0)
    with np.errstate(divide="ignore"):
        ratio = other[possible] / policy[possible]
    return float(ratio.min()), float(ratio.max())


def best_in_neighborhood(policy: np.ndarray, advantage: np.ndarray, C: float) -> np.ndarray:
    """``argmax_{pi' in N^C(pi)} sum_a pi'(a|s) A(s, a)`` in every state (Theorem 1's step), ``[S, A]``.

    A linear program per state, whose solution is greedy: every action keeps its floor ``(2 - C) pi(a|s)``, and the
    mass that is left fills actions up to ``C pi(a|s)`` in order of advantage.

    Args:
        policy: ``[S, A]``.
        advantage: ``[S, A]``.
        C: the neighborhood constant.

    Raises:
        ValueError: ``C`` not strictly between 1 and 2.
    """
    lower, upper = interval(C)
    order = np.argsort(-advantage, axis=1, kind="stable")
    room = np.take_along_axis((upper - lower) * policy, order, 1)
    before = np.cumsum(room, 1) - room
    filled = np.clip(1.0 - lower - before, 0.0, room)
    best = lower * policy
    np.put_along_axis(best, order, np.take_along_axis(best, order, 1) + filled, 1)
    return best / best.sum(1, keepdims=True)  # against rounding, which would add up over many steps


def improve_in_neighborhood(
    mdp: FiniteMDP, policy: np.ndarray, C: float, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Theorem 1's sequence ``pi_{n+1} = argmax_{pi' in N^C(pi_n)} E A^{pi_n}``.

    Args:
        mdp: where the advantage is taken, exactly.
        policy: ``pi_0``, ``[S, A]``.
        C: the neighborhood constant.
        iterations: ``n``.

    Returns:
        ``pi_n``, and the values ``[n + 1, S]`` of all policies on the way.
    """
    values = [mdp.policy_value(policy)]
    for _ in range(iterations):
        policy = best_in_neighborhood(policy, mdp.action_value(values[-1]) - values[-1][:, None], C)
        values.append(mdp.policy_value(policy))
    return policy, np.array(values)


def random_mdp(
    rng: np.random.Generator, states: int, actions: int, gamma: float, ending: float = 0.05, concentration: float = 0.3
) -> FiniteMDP:
    """An MDP whose last state is terminal; rewards are standard normal.

    Args:
        rng: where chance comes from.
        states: ``S``, at least 2.
        actions: ``A``.
        gamma: discount.
        ending: every step ends the episode with at least this probability.
        concentration: of the Dirichlet distributions that the rows of ``P`` are drawn from; small ones are spiky.
    """
    end = np.eye(states)[-1]
    P = (1.0 - ending) * rng.dirichlet(np.full(states, concentration), size=(states, actions)) + ending * end
    P[-1] = end
    R = rng.normal(size=(states, actions))
    R[-1] = 0.0
    initial = np.append(rng.dirichlet(np.ones(states - 1)), 0.0)
    return FiniteMDP(P, R, initial, end.astype(bool), gamma)


def random_policy(rng: np.random.Generator, states: int, actions: int) -> np.ndarray:
    """``[S, A]``, uniform over all policies."""
    return rng.dirichlet(np.ones(actions), size=states)


def random_neighbor(rng: np.random.Generator, policy: np.ndarray, reach: float) -> np.ndarray:
    """A policy near ``policy [S, A]``: logits moved by at most ``reach``, so ratios lie within ``exp(±2 reach)``."""
    moved = policy * np.exp(rng.uniform(-reach, reach, size=policy.shape))
    return moved / moved.sum(1, keepdims=True)
