"""Theorems 2, 3 and 4 on finite MDPs, each as a pair of numbers: what is true, and what the theorem says of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from planners.certificates.bounds import model_error, representation, safe_improvement, value_difference
from planners.finite.bounds import Abstraction, random_abstraction
from planners.finite.mdp import importance_ratios, random_mdp, random_neighbor, random_policy


class Comparison(NamedTuple):
    """A theorem in one case: it claims ``truth <= bound``, or nothing (``None``) where its assumptions fail."""

    truth: float
    bound: float | None


@dataclass(frozen=True)
class Setting:
    """What the theorems are about: data of a behavior policy, and a latent policy in the world and in the model."""

    world: Abstraction
    behavior: np.ndarray
    """``pi_b``, ``[S, A]``; its episodes must end."""
    latent_policy: np.ndarray
    """``pi̅``, ``[K, A]``."""
    K_V: float | None
    """A Lipschitz constant of ``V̄^pi̅``; without one there is no bound."""

    @cached_property
    def policy(self) -> np.ndarray:
        """``pi = pi̅ ∘ phi``, ``[S, A]``."""
        return self.world.deployed(self.latent_policy)

    @cached_property
    def D(self) -> float:
        """``D_sup(pi_b, pi)`` over the states in which ``pi_b`` acts; infinite where ``pi`` has an action more."""
        mdp = self.world.mdp
        return importance_ratios(self.behavior, self.policy, mdp.visited(self.behavior) & ~mdp.terminal)[1]

    @cached_property
    def xi(self) -> np.ndarray:
        """``[S]``, the stationary distribution of the episodic process of ``pi_b``."""
        return self.world.mdp.episodes(self.behavior).distribution

    def error(self, distribution: np.ndarray) -> float | None:
        """``L_R + gamma K_V L_P`` over states from ``distribution [S]`` and actions of ``pi_b``."""
        if self.K_V is None:
            return None
        losses = self.world.losses(distribution, self.behavior)
        return sum(model_error(losses, self.world.mdp.gamma, self.K_V).values())

    @cached_property
    def occupancy_error(self) -> float | None:
        """The same under the occupancy of ``pi_b`` discounted by ``gamma D``; None unless ``gamma D < 1``."""
        discount = self.world.mdp.gamma * self.D
        return self.error(self.world.mdp.occupancy(self.behavior, discount)) if discount < 1.0 else None

    def from_the_start(self) -> Comparison:
        """Theorem 2, exact form: ``|rho(pi, M) - rho(pi̅, M̄)|`` and its bound by the discounted occupancy."""
        truth = abs(self.world.mdp.rho(self.policy) - self.world.model.rho(self.latent_policy))
        return Comparison(truth, self._value_difference(self.occupancy_error))

    def in_expectation(self) -> Comparison:
        """Theorem 2, stationary form: ``E e(s)`` over ``xi``, and its bound."""
        truth = float(self.xi @ self.world.value_error(self.latent_policy))
        return Comparison(truth, self._value_difference(self.error(self.xi)))

    def from_the_start_by_length(self) -> Comparison:
        """Theorem 2, stationary form for the initial state: the bound of ``in_expectation`` times ``AEL``."""
        length = self.world.mdp.episodes(self.behavior).episode_length
        bound = self.in_expectation().bound
        return Comparison(self.from_the_start().truth, None if bound is None else length * bound)

    def safe_improvement(self, old: Setting) -> Comparison:
        """Theorem 3: how far the dreamt improvement over another latent policy is from the real one, and ``zeta``.

        The theorem asks only that the real one is not smaller by more; its proof holds in both directions.

        Args:
            old: the policy that is improved on, in the same world and on the same data. Where it is the behavior
                policy itself its ``D`` is 1, as in the paper.

        Raises:
            ValueError: ``old`` has another world or other data.
        """
        if old.world is not self.world or not np.array_equal(old.behavior, self.behavior):
            raise ValueError("old: must be a policy in the same world, on data of the same behavior policy")
        mdp, model = self.world.mdp, self.world.model
        dreamt = model.rho(self.latent_policy) - model.rho(old.latent_policy)
        real = mdp.rho(self.policy) - mdp.rho(old.policy)
        error, error_old = self.occupancy_error, old.occupancy_error
        if error is None or error_old is None:
            return Comparison(abs(dreamt - real), None)
        return Comparison(abs(dreamt - real), safe_improvement(error, error_old, self.D, mdp.gamma, old.D))

    def worst_pair(self) -> Comparison:
        """Theorem 4 without chance: ``|V(s1) - V(s2)|`` and ``K_V d(phi(s1), phi(s2)) + e(s1) + e(s2)`` of those
        two states for which they are closest (by their ratio)."""
        e = self.world.value_error(self.latent_policy)
        difference, allowed = self._pairs()
        if allowed is None:
            return Comparison(float(difference.max()), None)
        bound = allowed + e[:, None] + e
        one, other = np.unravel_index(np.argmax(difference / np.maximum(bound, 1e-300)), bound.shape)
        return Comparison(float(difference[one, other]), float(bound[one, other]))

    def markov(self, p: float) -> tuple[Comparison, Comparison]:
        """Theorem 4 as the paper has it, with ``eps`` by Markov's inequality.

        Returns:
            The probability over ``s1, s2 ~ xi`` that ``|V(s1) - V(s2)| > K_V d(phi(s1), phi(s2)) + eps``, and
            ``2 p``; then the smallest ``eps >= 0`` that keeps this probability at ``2 p`` or below, and the theorem's.
        """
        difference, allowed = self._pairs()
        error = self.error(self.xi)
        eps = None if error is None else representation(error, self.D, self.world.mdp.gamma, p)
        excess = (difference - (0.0 if allowed is None else allowed)).ravel()
        weight = np.outer(self.xi, self.xi).ravel()
        falling = np.argsort(-excess)
        beyond = np.cumsum(weight[falling])
        last = min(int(np.searchsorted(beyond, 2.0 * p, side="right")), len(excess) - 1)
        needed = float(excess[falling][last])
        missed = 0.0 if eps is None else weight[excess > eps + 1e-9].sum()
        return Comparison(float(missed), None if eps is None else 2.0 * p), Comparison(max(needed, 0.0), eps)

    def _value_difference(self, error: float | None) -> float | None:
        return None if error is None else value_difference(error, self.D, self.world.mdp.gamma)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray | None]:
        """``[S, S]``: ``|V(s1) - V(s2)|``, and ``K_V d(phi(s1), phi(s2))``."""
        value, phi = self.world.mdp.policy_value(self.policy), self.world.phi
        allowed = None if self.K_V is None else self.K_V * self.world.metric[np.ix_(phi, phi)]
        return np.abs(value[:, None] - value), allowed


class Case(NamedTuple):
    """A world and three policies, at random."""

    world: Abstraction
    latent_policy: np.ndarray  # pi̅, [K, A]
    latent_behavior: np.ndarray  # a latent policy near it, [K, A]
    behavior: np.ndarray  # a policy near it that sees more than the latents, [S, A]

    def settings(self, lipschitz: str = "K_V") -> tuple[Setting, Setting, Setting]:
        """``pi̅`` on data of the behavior that is not latent (Theorems 2 and 4), ``pi̅`` on data of the latent
        behavior (Theorem 3), and that behavior on its own data.

        Args:
            lipschitz: ``K_V`` for the exact constant, ``K_V_bound`` for ``K_R / (1 - gamma K_P)``.
        """
        K_V = getattr(self.world, lipschitz)
        of_policy, own = self.world.deployed(self.latent_behavior), K_V(self.latent_behavior)
        constant = K_V(self.latent_policy)
        return (
            Setting(self.world, self.behavior, self.latent_policy, constant),
            Setting(self.world, of_policy, self.latent_policy, constant),
            Setting(self.world, of_policy, self.latent_behavior, own),
        )


def random_case(rng: np.random.Generator) -> Case:
    """3 to 8 states, 2 or 3 actions, any number of latents, discount in (0.5, 0.99), either metric of
    ``random_metric``; policies and model from equal and exact to far apart, so that assumptions may fail."""
    states, actions = int(rng.integers(3, 9)), int(rng.integers(2, 4))
    mdp = random_mdp(rng, states, actions, gamma=rng.uniform(0.5, 0.99), ending=rng.choice([0.02, 0.2]))
    latents = int(rng.integers(2, states + 1))
    world = random_abstraction(rng, mdp, latents, noise=rng.choice([0.0, 0.1, 0.4]), plane=rng.random() < 0.5)
    latent_policy = random_policy(rng, latents, actions)
    reach = rng.choice([0.0, 0.05, 0.15, 0.4])
    latent_behavior = random_neighbor(rng, latent_policy, reach)
    behavior = random_neighbor(rng, world.deployed(latent_policy), reach)
    return Case(world, latent_policy, latent_behavior, behavior)
