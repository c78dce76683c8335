"""Measurements for a certificate, on a batch of real experience: everything that ``certificates`` computes with.

Nothing here changes what is measured: parameters stay, and whatever is sampled draws from a fork of the
generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.agent import Heads
from planners.certificates import Estimate, Evidence, FromStart, Lipschitz, estimate
from planners.dream import imagine
from planners.neighborhood import measure
from world_models.contract import WorldModel

#: States between which Lipschitz constants are estimated: all pairs of them.
STATES = 128
#: States from which the dream's improvement is measured.
STARTS = 256
#: Pairs that are closer than this share of the largest distance tell rounding errors apart, not states.
_CLOSE = 1e-4


@dataclass(frozen=True)
class Settings:
    """How evidence is gathered.

    Attributes:
        p: each confidence radius, and Markov's inequality in Theorem 4, fails with at most this probability.
        horizon: imagined steps over which the dream's improvement is measured.
    """

    p: float
    horizon: int

    def __post_init__(self) -> None:
        if not 0.0 < self.p < 0.5:
            raise ValueError(f"planner.certificate.p={self.p}: a probability above 0 and below 1/2, e.g. 0.05")
        if self.horizon < 1:
            raise ValueError(f"planner.certificate.horizon={self.horizon}: at least 1")


class Policies(NamedTuple):
    """The policies of one update on the states of a batch.

    ``behavior``: log-probabilities ``[N, T, A]`` of the one that gathered it; ``start`` and ``end``: the heads
    before and after the dream, on latents of the present encoder (the same where there was no dream)."""

    behavior: Tensor
    start: Heads
    end: Heads


@torch.no_grad()
def gather(
    world_model: WorldModel,
    policies: Policies,
    batch: TensorDictBase,
    gamma: float,
    C: float,  # noqa: N803
    p: float,
    horizon: int,
    lipschitz: Lipschitz | None = None,
    units: int | None = None,
) -> Evidence:
    """The evidence of one update, with local losses under the batch's own distribution.

    Args:
        world_model: the model after the update.
        policies: before and after.
        batch: experience ``[N, T]`` of the behavior policy. If the model has learnt from it, the losses are those
            on training data, and optimistic.
        gamma: discount.
        C: the neighborhood constant.
        p: failure probability of each confidence radius, in (0, 1/2).
        horizon: imagined steps over which the dream's improvement is measured.
        lipschitz: constants that are known; estimated if ``None``.
        units: independent parts of the batch; ``None`` for the N environments.

    Raises:
        ValueError: an empty batch.
    """
    if 0 in batch.shape:  # numel of an empty TensorDict is 1
        raise ValueError("a certificate needs data: the batch is empty")
    after = batch["next"]
    latent, next_latent = world_model.believe(batch)
    reward, terminated = after["reward"].squeeze(-1), after["terminated"].squeeze(-1)
    with torch.random.fork_rng(devices=[latent.device] if latent.is_cuda else []):
        distances = world_model.local_distances(latent, batch["action"], reward, next_latent, terminated)
        rows = latent.flatten(0, 1)
        values = policies.end(rows).value
        dreamt = policies.start is not policies.end
        improvement = dream_improvement(world_model, policies, rows, gamma, horizon) if dreamt else None
        residual = bellman_residual(world_model, policies.end, rows, gamma)
        constants = lipschitz or estimate_lipschitz(
            world_model, policies.end, rows, batch["action"].flatten(), next_latent.flatten(0, 1)
        )
    found = measure(policies.behavior.flatten(0, 1), policies.end(rows).logits, C)
    start = measure(policies.behavior.flatten(0, 1), policies.start(rows).logits, C)
    samples = units or len(latent)
    span = float(min(reward.min(), 0.0)), float(max(reward.max(), 0.0))
    return Evidence(
        gamma=gamma,
        C=C,
        D_sup=max(found.d_sup, 1.0),
        D_inf=found.d_inf,
        D_start=max(start.d_sup, 1.0),
        reward=_estimate(distances["reward"], samples, p),
        transition=_estimate(distances["transition"], samples, p),
        termination=_estimate(distances["termination"], samples, p),
        lipschitz=constants,
        V_max=float(values.abs().max()),
        bellman=residual,
        reward_range=span,
        dream_improvement=improvement,
        samples=samples,
        p=p,
        length=batch.numel() / int(after["done"].sum()) if after["done"].any() else None,
    )


def _estimate(values: Tensor, units: int, p: float) -> Estimate:
    return estimate(float(values.mean()), float(values.max()), units, p)


@torch.no_grad()
def gather_from_start(
    world_model: WorldModel, policies: Policies, episodes: TensorDictBase, evidence: Evidence, horizon: int
) -> FromStart:
    """What whole episodes of the behavior policy tell of the initial state.

    Args:
        world_model: the model after the update; it must not have learnt from these episodes.
        policies: before and after.
        episodes: transitions ``[M]``, with ``episode`` ``[M]`` (its number, from 0) and ``step`` ``[M]``.
        evidence: of the same data, for constants and measured ratios.
        horizon: imagined steps of a return.
    """
    e, after = evidence, episodes["next"]
    latent, next_latent = (z.squeeze(0) for z in world_model.believe(episodes.unsqueeze(0)))
    reward, terminated = after["reward"].squeeze(-1), after["terminated"].squeeze(-1)
    number, step = episodes["episode"], episodes["step"]
    count = int(number.max()) + 1
    with torch.random.fork_rng(devices=[latent.device] if latent.is_cuda else []):
        distances = world_model.local_distances(latent, episodes["action"], reward, next_latent, terminated)
        starts = latent[step == 0]
        returns = _paired_returns(world_model, policies, starts, e.gamma, horizon)
    error = distances["reward"] + e.gamma * (
        e.lipschitz.K_V * distances["transition"] + e.V_max * distances["termination"]
    )

    def summed(values: Tensor, discount: float) -> Tensor:
        """``sum_t discount^t value_t`` of each episode."""
        return torch.zeros(count, dtype=torch.float64, device=values.device).index_add_(
            0, number, discount ** step.double() * values.double()
        )

    def bound(D: float) -> Estimate:  # noqa: N803
        return _estimate(D * summed(error, e.gamma * D), count, e.p)

    return FromStart(
        bound=bound(e.D_sup),
        bound_start=bound(e.D_start),
        real=float(summed(reward, e.gamma).mean()),
        dreamt=float(returns[0].mean()),
        dream_improvement=float((returns[1] - returns[0]).mean()),
        episodes=count,
        cut=float((after["done"] & ~after["terminated"]).sum()) / count,
    )


def dream_improvement(world_model: WorldModel, policies: Policies, latent: Tensor, gamma: float, horizon: int) -> float:
    """Mean imagined discounted return of the new heads less that of the old, from ``STARTS`` of the latents
    ``[M, *]``. What comes after ``horizon`` steps is left out."""
    latent = latent[torch.randperm(len(latent), device=latent.device)[:STARTS]]
    before, after = _paired_returns(world_model, policies, latent, gamma, horizon)
    return float((after - before).mean())


def _paired_returns(
    world_model: WorldModel, policies: Policies, latent: Tensor, gamma: float, horizon: int
) -> tuple[Tensor, Tensor]:
    """Imagined returns before and after, with the same random numbers for both."""
    seed = int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    before = imagined_return(world_model, policies.start, latent, gamma, horizon)
    torch.manual_seed(seed)
    return before, imagined_return(world_model, policies.end, latent, gamma, horizon)


def imagined_return(world_model: WorldModel, heads: Heads, latent: Tensor, gamma: float, horizon: int) -> Tensor:
    """Discounted reward of one dream of ``horizon`` steps from each latent ``[M, *]``, ``[M]``."""
    dream = imagine(world_model, heads, latent, horizon, "expected")
    reward = dream["next", "reward"].squeeze(-1) * dream["alive"]
    return reward @ gamma ** torch.arange(horizon, device=reward.device, dtype=reward.dtype)


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
    """Lower estimates of the Lipschitz constants under the latent policy, for the L1 metric of latents.

    Each is the largest ratio over all pairs of ``STATES`` of the transitions ``[M]``. For the transition, W1
    between two distributions is at least the distance of their means. For the value the critic stands in, with and
    without what the termination head makes of it: see ``bounds``.
    """
    chosen = torch.randperm(len(latent), device=latent.device)[:STATES]
    states = latent[chosen]
    reward, following = under_policy(world_model, heads, states)
    distance = _distances(states)
    far = distance > _CLOSE * distance.max()
    if not far.any():  # one state only, or all merged
        return Lipschitz(0.0, 0.0, 0.0)

    def largest(between: Tensor) -> float:
        return float((between[far] / distance[far]).max())

    value = heads(states).value
    return Lipschitz(
        K_R=largest((reward[:, None] - reward).abs()),
        K_P=largest(_distances(following)),
        K_V=max(
            largest((value[:, None] - value).abs()),
            _slope_of_what_follows(world_model, heads, states, action[chosen], next_latent[chosen]),
        ),
    )


def _slope_of_what_follows(
    world_model: WorldModel, heads: Heads, latent: Tensor, action: Tensor, next_latent: Tensor
) -> float:
    """Largest ratio of differences of ``(1 - D̄(z, a, z')) V̄(z')`` to distances of ``z'``, for each ``(z, a)``."""
    value, distance = heads(next_latent).value, _distances(next_latent)
    far = distance > _CLOSE * distance.max()
    steepest = 0.0
    for z, a, own, others in zip(latent, action, range(len(latent)), far, strict=True):
        if others.any():
            count = len(next_latent)
            ends = world_model.termination(z.expand(count, *z.shape), a.expand(count), next_latent)
            following = (1.0 - ends) * value
            slope = (following[own] - following).abs()[others] / distance[own][others]
            steepest = max(steepest, float(slope.max()))
    return steepest


def _distances(latent: Tensor) -> Tensor:
    """L1 distances between all pairs, ``[M, M]``."""
    flat = latent.flatten(1)
    return torch.cdist(flat, flat, p=1.0)


def bellman_residual(world_model: WorldModel, heads: Heads, latent: Tensor, gamma: float) -> float:
    """Mean absolute difference between the critic and one imagined step of its own, over latents ``[M, *]``: one
    sample of next latent and action for each, so that a random world adds its spread to it."""
    step = imagine(world_model, heads, latent, 1, "expected")
    after = step["next"]
    going_on = (1.0 - after["termination"]) * after["state_value"]
    return float((after["reward"] + gamma * going_on - step["state_value"]).abs().mean())
