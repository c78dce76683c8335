"""Imagined returns, and what a dream makes of an update: the left side of Theorem 3, from samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical

from planners.certificates.confidence import hoeffding_radius
from planners.heads import Heads
from world_models.contract import WorldModel

#: Latents beyond this are soon no numbers: the dream diverges.
_LARGEST = 1e18


class Imagined(NamedTuple):
    """One dream from each of M latents.

    ``rewards`` ``[M, H]``: discounted, and weighed with the probability of getting there. ``beyond`` ``[M]``: what
    the critic expects after the last step, discounted and weighed alike.
    """

    rewards: Tensor
    beyond: Tensor


class Improvement(NamedTuple):
    """The dreamt improvement, in units of return: ``mean`` of the imagined returns' differences over the horizon,
    ``tail`` of what may follow it, and the ``radius`` of both."""

    mean: float
    tail: float
    radius: float

    @property
    def lower(self) -> float:
        """Lower confidence limit."""
        return self.mean - self.tail - self.radius


@torch.no_grad()
def imagined(world_model: WorldModel, heads: Heads, latent: Tensor, gamma: float, horizon: int) -> Imagined | None:
    """Dreams ``horizon`` steps from each latent ``[M, *]``, ends weighed as they are expected; ``None`` if it
    diverges, which is seen before anything is drawn from what is no number. A dream that is surely over rests."""
    alive, rewards = torch.ones_like(latent.flatten(1)[:, 0]), []
    for step in range(horizon):
        logits = heads(latent).logits
        if not (float(latent.abs().max()) <= _LARGEST and bool(torch.isfinite(logits).all())):
            return None
        dreamt = world_model.imagine(latent, Categorical(logits=logits, validate_args=False).sample())
        rewards.append(gamma**step * alive * dreamt.reward)
        alive = alive * (1.0 - dreamt.termination)
        going_on = (alive > 0.0).view(-1, *[1] * (latent.ndim - 1))
        latent = torch.where(going_on, dreamt.next_latent, latent)
    found = Imagined(torch.stack(rewards, 1), gamma**horizon * alive * heads(latent).value)
    return found if all(bool(torch.isfinite(part).all()) for part in found) else None


def paired(
    world_model: WorldModel, before: Heads, after: Heads, latent: Tensor, gamma: float, horizon: int
) -> tuple[Imagined | None, Imagined | None]:
    """Dreams of two policies from the same latents ``[M, *]`` with the same random numbers."""
    seed = int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    first = imagined(world_model, before, latent, gamma, horizon)
    torch.manual_seed(seed)
    return first, imagined(world_model, after, latent, gamma, horizon)


def improvement(before: Imagined, after: Imagined, units: int, p: float) -> Improvement:
    """What the second dream gains on the first.

    Args:
        before, after: dreams from the same ``units x k`` latents, those of a unit one after the other.
        units: independent groups of starts. A group's mean gain is one sample between two returns' largest difference
            and its negative, of all that were imagined and 0: the gains themselves may all be 0 by chance, as two
            policies that hardly differ seldom act differently on the same random numbers.
        p: the radius fails with at most this probability.
    """
    first, second = before.rewards.sum(1), after.rewards.sum(1)
    tail = after.beyond.abs() + before.beyond.abs()
    returns = torch.cat((first, second, torch.zeros_like(first[:1])))
    width = 2.0 * float(returns.max() - returns.min()) + float(tail.max())
    return Improvement(float((second - first).mean()), float(tail.mean()), hoeffding_radius(width, units, p))


def bellman_residual(world_model: WorldModel, heads: Heads, latent: Tensor, gamma: float) -> float:
    """Mean absolute difference between the critic and one imagined step of its own, over latents ``[M, *]``: one
    sample of next latent and action for each, so that a random world adds its spread to it. NaN if it diverges."""
    step = imagined(world_model, heads, latent, gamma, 1)
    if step is None:
        return float("nan")
    return float((step.rewards[:, 0] + step.beyond - heads(latent).value).abs().mean())
