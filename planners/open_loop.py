"""Open-loop dreams: the model dreams on from a real state under the actions that were really taken, and is laid
beside what really happened.

Nothing of the real sequence but its first state and its actions reaches the dream, so errors add up as they would in
a dream of the policy's own.
"""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives.value.functional import reward2go

from planners.agent import Agent
from planners.imagination import CHUNK


def windows(done: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """Every stretch of ``horizon`` recorded steps, and which of its steps are of the episode that it starts in.

    Where a stretch may start doesn't depend on how it goes on: one that is kept because it ends early would make ends
    look likelier than they are.

    Args:
        done: ``[S, L]`` bool, whether an episode ended with a step.
        horizon: H, from 1 to L.

    Returns:
        ``step`` ``[W, H]``, numbers of steps in ``"s l -> (s l)"``, with ``W = S (L - H + 1)``; and ``counted``
        ``[W, H]``: true up to the first end, that step included.
    """
    step = torch.arange(done.numel(), device=done.device).view_as(done).unfold(1, horizon, 1).flatten(0, 1)
    ended = done.flatten()[step].cumsum(1) > 0
    return step, ~torch.cat((torch.zeros_like(ended[:, :1]), ended[:, :-1]), 1)


@torch.no_grad()
def open_loop(
    agent: Agent,
    experience: TensorDictBase,
    beliefs: tuple[Tensor, Tensor],
    horizon: int,
    most: int,
    mean: bool = False,
) -> TensorDict:
    """Dreams ``horizon`` steps from real states under the recorded actions, beside what happened.

    Args:
        agent: the one whose model dreams and whose critic judges latents.
        experience: sequences ``[S, L]``.
        beliefs: their latents ``z`` and ``z'``, each ``[S, L, *latent_shape]``.
        horizon: H, from 1 to L.
        most: dreams at most; more starts than that are drawn from.
        mean: goes on from the mean of ``P̄`` at each step, instead of a sample of it.

    Returns:
        A TensorDict ``[W, H]``, each entry of that shape. Of the step itself: ``start`` (its window's first step, a
        number in ``"s l -> (s l)"``), ``counted`` (whether it is of the episode that the window starts in),
        ``real_reward``, ``terminated``, ``real_value`` (the critic on the real latent after it). Of the dream:
        ``reward``, ``termination`` (probability), ``value`` (the critic on the dreamt latent), ``latent_error`` (L1
        distance between the dreamt latent after the step and the real one) and ``still_error`` (the same of a dream
        that stays where it starts).
    """
    step, counted = windows(experience["next", "done"].squeeze(-1), horizon)
    chosen = torch.randperm(len(step), device=step.device)[:most]
    step, counted = step[chosen], counted[chosen]
    latent, next_latent = (belief.flatten(0, 1) for belief in beliefs)
    action, after = experience["action"].flatten(), experience["next"]
    pieces = step.split(max(CHUNK // latent[0].numel(), 1))
    walk: TensorDict = torch.cat([_dream(agent, latent[i[:, 0]], action[i], next_latent, i, mean) for i in pieces])
    what_happened = {
        "start": step[:, :1].expand_as(step),
        "counted": counted,
        "real_reward": after["reward"].flatten()[step],
        "terminated": after["terminated"].flatten()[step],
    }
    return walk.update(what_happened)


def _dream(
    agent: Agent, start: Tensor, action: Tensor, next_latent: Tensor, step: Tensor, mean: bool
) -> TensorDictBase:
    """The dream's entries of ``open_loop``, from latents ``[W, *]`` under actions ``[W, H]``."""
    model, latent, walk = agent.world_model, start, []
    for a, i in zip(action.unbind(1), step.unbind(1), strict=True):
        distribution = model.transition(latent, a)
        following, real = distribution.mean if mean else distribution.sample(), next_latent[i]
        entries = {
            "reward": model.reward(latent, a),
            "termination": model.termination(latent, a, following),
            "value": agent.heads(following).value,
            "real_value": agent.heads(real).value,
            "latent_error": (following - real).abs().flatten(1).sum(1),
            "still_error": (start - real).abs().flatten(1).sum(1),
        }
        walk.append(TensorDict(entries, batch_size=a.shape))
        latent = following
    return torch.stack(walk, 1)


def window_returns(walk: TensorDictBase, gamma: float) -> tuple[Tensor, Tensor]:
    """Dreamt and real discounted reward of each window, ``[V]``, over the steps that really happened.

    A dreamt reward weighs as much as the dream thinks it likely to get there. Windows that were cut off, by a
    truncation, have no return and are left out.
    """
    counted = walk["counted"]
    known = counted[:, -1] | (counted & walk["terminated"]).any(1)
    discount = counted * gamma ** torch.arange(counted.shape[1], device=counted.device)
    going_on = (1.0 - walk["termination"]).cumprod(1)
    alive = torch.cat((torch.ones_like(going_on[:, :1]), going_on[:, :-1]), 1)
    dreamt, real = (discount * alive * walk["reward"]).sum(1), (discount * walk["real_reward"]).sum(1)
    return dreamt[known], real[known]


def returns_to_the_end(experience: TensorDictBase, gamma: float) -> tuple[Tensor, Tensor]:
    """Discounted reward from each step of sequences ``[S, L]`` to the end of its episode, ``[S, L]``, and whether it
    is known: whether the episode came to an end of its own there."""
    after = experience["next"]
    earned = reward2go(after["reward"], after["done"], gamma)
    known = reward2go(after["terminated"].to(earned.dtype), after["done"], 1.0) > 0.0
    return earned.squeeze(-1), known.squeeze(-1)
