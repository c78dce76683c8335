"""Measures the evidence for a certificate, on a batch of real experience.

Nothing here changes what is measured: parameters stay, and whatever is sampled draws from a fork of the
generator.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.certificates.bounds import error_weights
from planners.certificates.confidence import Estimate, mean, mean_over_steps
from planners.certificates.evidence import PARTS, Episodes, Evidence, ModelError, PolicyEvidence, Settings
from planners.certificates.imagined import Imagined, bellman_residual, imagined, improvement, paired
from planners.certificates.lipschitz import Given, estimate_lipschitz
from planners.certificates.walk import Walk, walk_through
from planners.heads import Heads
from planners.neighborhood import measure
from world_models.contract import WorldModel

#: States of the data from which the dream's improvement is measured, where there are no whole episodes.
STARTS = 256
#: A step's weight in an episode's sum at most: such a bound is vacuous, but infinity times 0 would be no number.
_HEAVIEST = 1e200


class Policies(NamedTuple):
    """The policies of one update on the states of a batch.

    ``behavior``: log-probabilities ``[N, T, A]`` of the one that gathered it; ``start`` and ``end``: the heads
    before and after the dream, on latents of the present encoder; ``start`` is ``None`` where there was no dream."""

    behavior: Tensor
    start: Heads | None
    end: Heads


@torch.no_grad()
def gather(
    world_model: WorldModel,
    policies: Policies,
    batch: TensorDictBase,
    gamma: float,
    C: float,  # noqa: N803
    settings: Settings,
    given: Given | None = None,
) -> Evidence:
    """The evidence of one update.

    Args:
        world_model: the model after the update.
        policies: before and after.
        batch: experience ``[N, T]`` of the behavior policy, each environment an independent unit; if the model has
            learnt from it, the losses are optimistic. Or whole episodes ``[1, M]`` one after the other, with
            ``episode`` (its number, from 0) and ``step``, each a unit; the model must not have learnt from these.
        gamma: discount.
        C: the neighborhood constant.
        settings: how.
        given: Lipschitz constants that are known; estimated if ``None``.

    Raises:
        ValueError: an empty batch; ``Refuted``, given constants that can't be true.
    """
    if 0 in batch.shape:  # numel of an empty TensorDict is 1
        raise ValueError("a certificate needs data: the batch is empty")
    device = batch["action"].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        walk = walk_through(world_model, batch, policies.behavior)
        of_policy = partial(_of_policy, world_model, walk, gamma, C, settings.p, given)
        end = of_policy(policies.end)
        start = None if policies.start is None else of_policy(policies.start)
        before, after = _dreams(world_model, policies, walk, gamma, settings.horizon)
        to_go = walk.to_go(gamma)
    return Evidence(
        gamma=gamma,
        C=C,
        p=settings.p,
        samples=len(walk.lengths),
        states=len(walk.unit),
        cuts=int(walk.cut.sum()),
        reward=_loss(walk, "reward", settings.p),
        transition=_loss(walk, "transition", settings.p),
        termination=_loss(walk, "termination", settings.p),
        end=end,
        start=start,
        largest=_spread(to_go),
        improvement=None if before is None or after is None else improvement(before, after, len(to_go), settings.p),
        episodes=_episodes(walk, before if start is not None else after, to_go, gamma, settings.horizon)
        if walk.whole
        else None,
        by_construction=(world_model.reward_lipschitz, world_model.transition_lipschitz),
    )


def _loss(walk: Walk, name: str, p: float) -> Estimate:
    losses = walk.errors[:, PARTS.index(name)]
    return mean_over_steps(walk.summed(losses).tolist(), walk.lengths, float(losses.max()), p)


def _of_policy(
    world_model: WorldModel,
    walk: Walk,
    gamma: float,
    C: float,  # noqa: N803
    p: float,
    given: Given | None,
    heads: Heads,
) -> PolicyEvidence:
    ratio = measure(walk.behavior, heads(walk.latent).logits, C)
    D = 1.0 if ratio.d_sup < 1.0 else ratio.d_sup  # noqa: N806
    V_max = max(float(heads(z).value.abs().max()) for z in (walk.latent, walk.next_latent))  # noqa: N806
    constants = estimate_lipschitz(world_model, heads, walk.latent, walk.action, walk.next_latent)
    if given is not None:
        constants = constants.known_as(given, gamma, V_max)
    # With gamma = 1 nothing bounds what follows a cut, and check() says so.
    beyond = float(walk.reward.abs().max()) / (1.0 - gamma) + V_max if gamma < 1.0 else 0.0
    weights = torch.tensor(error_weights(gamma, constants.K_V, V_max, beyond), dtype=torch.float64)
    errors = walk.errors.double() * weights.to(walk.errors.device)
    growth = D * ((gamma * D) ** walk.step.double()).clamp(max=_HEAVIEST)
    return PolicyEvidence(
        D_sup=D,
        D_inf=ratio.d_inf,
        lipschitz=constants,
        V_max=V_max,
        bellman=bellman_residual(world_model, heads, walk.latent, gamma),
        step=_per_step(walk, errors, p),
        episode=_per_episode(walk, errors, p) if walk.whole else None,
        initial=_per_episode(walk, growth[:, None] * errors, p) if walk.whole and math.isfinite(D) else None,
    )


def _per_step(walk: Walk, errors: Tensor, p: float) -> ModelError:
    whole = errors.sum(1)
    found = mean_over_steps(walk.summed(whole).tolist(), walk.lengths, float(whole.max()), p)
    return ModelError(dict(zip(PARTS, errors.mean(0).tolist(), strict=True)), found.radius)


def _per_episode(walk: Walk, errors: Tensor, p: float) -> ModelError:
    sums = walk.summed(errors)
    return ModelError(dict(zip(PARTS, sums.mean(0).tolist(), strict=True)), mean(sums.sum(1).tolist(), p).radius)


def _dreams(
    world_model: WorldModel, policies: Policies, walk: Walk, gamma: float, horizon: int
) -> tuple[Imagined | None, Imagined | None]:
    """What the policies before and after dream from ``walk.starts``; ``None`` for one that there isn't or that
    diverges."""
    if policies.start is not None:
        return paired(world_model, policies.start, policies.end, walk.starts(STARTS), gamma, horizon)
    if walk.whole:
        return None, imagined(world_model, policies.end, walk.starts(STARTS), gamma, horizon)
    return None, None


def _episodes(walk: Walk, dream: Imagined | None, to_go: Tensor, gamma: float, horizon: int) -> Episodes:
    horizon = min([horizon] + (walk.step[walk.cut] + 1).tolist())
    seen = walk.step < horizon
    earned = walk.summed(seen * gamma ** walk.step.double() * walk.reward)
    return Episodes(
        horizon=horizon,
        earned=float(earned.mean()),
        dreamt=None if dream is None else float(dream.rewards[:, :horizon].sum(1).mean()),
        length=len(walk.unit) / len(to_go),
        largest=_spread(to_go[:, 0]),
    )


def _spread(returns: Tensor) -> float:
    """Largest less smallest, 0 included."""
    return float(returns.max().clamp(min=0.0) - returns.min().clamp(max=0.0))
