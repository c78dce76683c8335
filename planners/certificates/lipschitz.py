"""Lipschitz constants of what a latent policy meets in its model, in the L1 metric of the latents.

Estimated they are the largest ratio over pairs of states, and so *lower* estimates; given, they are the user's word,
which the estimates can refute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from planners.certificates.bounds import value_lipschitz
from planners.heads import Heads
from world_models.contract import WorldModel

#: States between which constants are estimated: all pairs of them.
STATES = 128
#: Pairs that are closer than this share of the largest distance tell rounding errors apart, not states.
_CLOSE = 1e-4
#: What rounding may add to a difference, as a share of what is subtracted: no slope may come of that.
_ROUNDING = 1e-6
#: What a given constant may fall below an estimate by: distances are rounded, too.
_SLACK = 0.99


class Refuted(ValueError):
    """A constant that the user vouches for, and that can't be true, or of which the theory can make nothing."""


class Given(NamedTuple):
    """Constants that the user vouches for, each *under the policies* before and after a dream (so they include how
    these change with ``z``): of the reward, of the transition in W1, and of the probability of an end, the last in
    each of its two latents and for each action, too."""

    K_R: float
    K_P: float
    K_D: float

    def check(self, gamma: float) -> None:
        """Raises ``Refuted`` for what is no constant, or with which the theory can do nothing."""
        for name, value in self._asdict().items():
            if not (math.isfinite(value) and value >= 0.0):
                raise Refuted(f"{name}={value}: a Lipschitz constant is a finite number, at least 0")
        if not self.K_P * gamma < 1.0:
            raise Refuted(
                f"K_P={self.K_P}: with gamma={gamma} the theory asks for K_P < 1/gamma = {1 / gamma:.4g}; "
                "leave K_R, K_P and K_D out to use lower estimates instead"
            )


@dataclass(frozen=True)
class Lipschitz:
    """Constants for one latent policy.

    Attributes:
        K_R: of the latent reward under the policy.
        K_P: of the latent transition under the policy, in W1.
        K_D: of the probability of an end in the latent that is arrived in, for each latent and action before it.
        K_V: of the latent value function, and of what follows a step: see ``bounds``.
        known: whether they were given by the user; else they are lower estimates.
    """

    K_R: float
    K_P: float
    K_D: float
    K_V: float
    known: bool = False

    def known_as(self, given: Given, gamma: float, V_max: float) -> Lipschitz:  # noqa: N803
        """These lower estimates replaced by constants that the user vouches for; ``V_max`` is the largest absolute
        latent value.

        Raises:
            Refuted: constants that ``Given.check`` refuses, or below the estimates, and so provably false.
        """
        given.check(gamma)
        for name, value in given._asdict().items():
            if value < _SLACK * getattr(self, name):
                raise Refuted(
                    f"{name}={value}: two states of the data show that it is at least {getattr(self, name):.4g}"
                )
        K_V = value_lipschitz(given.K_R, given.K_P, gamma, given.K_D, V_max)
        assert K_V is not None  # as Given.check has seen
        return Lipschitz(*given, K_V=K_V + given.K_D * V_max, known=True)


def under_policy(world_model: WorldModel, heads: Heads, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Expected reward ``[M]`` and mean next latent ``[M, *]`` under the latent policy, summed over all actions."""
    probabilities = heads(latent).logits.exp()
    reward = torch.zeros_like(probabilities[:, 0])
    following = torch.zeros_like(latent)
    for index, weight in enumerate(probabilities.unbind(-1)):
        action = torch.full_like(weight, index, dtype=torch.long)
        reward += weight * world_model.reward(latent, action)
        mean = world_model.transition(latent, action).mean
        following += weight.view(-1, *[1] * (latent.ndim - 1)) * mean
    return reward, following


def estimate_lipschitz(
    world_model: WorldModel, heads: Heads, latent: Tensor, action: Tensor, next_latent: Tensor
) -> Lipschitz:
    """Lower estimates under the latent policy, for the L1 metric of latents.

    Each is the largest ratio over all pairs of up to ``STATES`` of the transitions ``[M]``. For the transition, W1
    between two distributions is at least the distance of their means. For the value the critic stands in, with and
    without what the termination head makes of it: see ``bounds``.
    """
    chosen = torch.randperm(len(latent), device=latent.device)[:STATES]
    z, a, z_next = latent[chosen], action[chosen], next_latent[chosen]
    steepest = _slopes(z)
    reward, following = under_policy(world_model, heads, z)
    value = heads(z).value
    K_D, K_follows = _slopes_of_what_follows(world_model, heads, z, a, z_next)
    return Lipschitz(
        K_R=steepest((reward[:, None] - reward).abs(), reward.abs()),
        K_P=steepest(_distances(following), following.flatten(1).abs().sum(1)),
        K_D=K_D,
        K_V=max(steepest((value[:, None] - value).abs(), value.abs()), K_follows),
    )


def _slopes(latent: Tensor) -> Callable[[Tensor, Tensor], float]:
    """The largest ratio of differences ``[M, M]`` of values of some sizes to the distances of latents ``[M, *]``; 0 if
    all are merged."""
    distance = _distances(latent)
    far = distance > _CLOSE * distance.max()

    def steepest(between: Tensor, sizes: Tensor) -> float:
        sure = (between - _ROUNDING * sizes.max()).clamp(min=0.0)
        return float((sure[far] / distance[far]).max().detach()) if far.any() else 0.0

    return steepest


def _slopes_of_what_follows(
    world_model: WorldModel, heads: Heads, latent: Tensor, action: Tensor, next_latent: Tensor
) -> tuple[float, float]:
    """Largest slopes in ``z'``, for each ``(z, a)``: of ``D̄(z, a, z')``, and of ``(1 - D̄(z, a, z')) V̄(z')``."""
    count, value = len(next_latent), heads(next_latent).value
    ends = torch.stack(  # [(z, a), z']
        [
            world_model.termination(z.expand(count, *z.shape), a.expand(count), next_latent)
            for z, a in zip(latent, action, strict=True)
        ]
    )
    steepest, follows = _slopes(next_latent), (1.0 - ends) * value

    def from_own(function: Tensor) -> float:
        return steepest((function.diagonal()[:, None] - function).abs(), function.abs())

    return from_own(ends), from_own(follows)


def _distances(latent: Tensor) -> Tensor:
    """L1 distances between all pairs, ``[M, M]``."""
    flat = latent.flatten(1)
    return torch.cdist(flat, flat, p=1.0)
