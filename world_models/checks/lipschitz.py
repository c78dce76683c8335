"""The claimed Lipschitz constants, under random weights and against inputs that gradient ascent has made worse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torchrl.data import OneHot

from world_models.checks.outcome import Skipped, expect
from world_models.checks.subject import Subject, disturb
from world_models.contract import WorldModel

SLACK = 1.01  # rounding, and what is left of sampling

#: Of two batches of latents ``[P, *]``, by so many samples of noise: how far apart their outcomes are, ``[P]``.
Distance = Callable[[Tensor, Tensor, int], Tensor]


class Effort(NamedTuple):
    """How hard a larger ratio is looked for."""

    pairs: int
    steps: int
    searched: int
    """Noise samples in each step of the ascent."""
    judged: int
    """Fresh noise samples at the end."""


SMALL, LARGE = Effort(24, 25, 8, 256), Effort(8, 6, 2, 16)
LARGE_LATENT = 1000  # numbers; the noise of so many averages out by itself


def lipschitz(subject: Subject) -> None:
    """The claimed constants hold for each action, for any weights, on random and adversarial pairs of latents."""
    model = subject.model
    if model.transition_lipschitz is None and model.reward_lipschitz is None:
        raise Skipped("the model claims no Lipschitz constant")
    for seed in range(2):
        model = disturb(subject.fresh(seed), seed).requires_grad_(False)
        effort = LARGE if model.latent_spec.shape.numel() > LARGE_LATENT else SMALL
        if isinstance(model.latent_spec, OneHot):  # a constant between one-hots says nothing of what lies between them
            effort = effort._replace(steps=0)
        pairs = _pairs(model, effort.pairs, subject)
        for what, claimed, distance in (
            ("transition", model.transition_lipschitz, _transition_distance),
            ("reward", model.reward_lipschitz, _reward_distance),
        ):
            if claimed is not None:
                _judge(what, _worst(partial(distance, model, subject.actions(effort.pairs)), pairs, effort), claimed)


def _judge(what: str, worst: float, claimed: float) -> None:
    key = "network" if what == "transition" else what
    expect(
        worst <= claimed * SLACK + 1e-4,
        f"{what}: no two latents whose outcomes lie more than {claimed:g} times as far apart as they do, "
        f"as {what}_lipschitz={claimed:g} claims",
        f"a pair with {worst:.4g} times",
        f"{what}_lipschitz, and the layers of {what} (world_model.{key} in our YAML files): world_models.lipschitz has "
        "layers that keep a constant; None claims nothing",
    )


def _pairs(model: WorldModel, count: int, subject: Subject) -> tuple[Tensor, Tensor]:
    """Pairs of latents ``[P, *]``, near ones and far ones: one-hots differ in one variable or in more."""
    shape = model.latent_spec.shape
    if isinstance(model.latent_spec, OneHot):
        first, other = model.latent_spec.expand(2, count, *shape).rand().float().reshape(2, count, -1, shape[-1])
        redrawn = torch.rand(first.shape[:2]) < torch.logspace(-2, 0, count).unsqueeze(1)
        redrawn[torch.arange(count), torch.randint(first.shape[1], (count,))] = True  # one at least
        second = torch.where(redrawn.unsqueeze(-1), other, first).reshape(count, *shape)
        first = first.reshape(count, *shape)
    else:
        first = 3 * torch.randn(count, *shape)
        apart = torch.logspace(-2, 1, count).reshape(-1, *[1] * len(shape))
        second = first + apart * torch.randn(count, *shape)
    return first.to(subject.device), second.to(subject.device)


def _worst(distance: Distance, pairs: tuple[Tensor, Tensor], effort: Effort) -> float:
    """The largest ratio of the distance of two outcomes to that of their latents, before and after the ascent."""
    points = nn.ParameterList([end.clone() for end in pairs])
    optimizer = torch.optim.Adam(points.parameters(), 0.05)

    def ratio(samples: int) -> Tensor:
        apart = (points[0] - points[1]).flatten(1).norm(dim=1)
        return distance(points[0], points[1], samples) / apart.clamp_min(1e-6)

    with torch.no_grad():
        worst = float(ratio(effort.judged).max())
    for _ in range(effort.steps):
        optimizer.zero_grad()
        (-ratio(effort.searched).sum()).backward()
        optimizer.step()
    with torch.no_grad():
        return max(worst, float(ratio(effort.judged).max()))


def _reward_distance(model: WorldModel, action: Tensor, first: Tensor, second: Tensor, _: int) -> Tensor:
    return (model.reward(first, action) - model.reward(second, action)).abs()


def _transition_distance(model: WorldModel, action: Tensor, first: Tensor, second: Tensor, samples: int) -> Tensor:
    """A lower bound of W1 between the two transitions, ``[P]``: of their means, and of their spread about a point."""
    one, other = model.transition(first, action), model.transition(second, action)
    moved = (one.mean - other.mean).flatten(1).norm(dim=1)
    if not one.has_rsample or isinstance(model.latent_spec, OneHot):
        return moved
    seed = int(torch.randint(2**31, ()))
    center = one.mean.detach()
    spread = _mean_distance(one, center, samples, seed) - _mean_distance(other, center, samples, seed)
    return torch.maximum(moved, spread.abs())


def _mean_distance(distribution: Distribution, center: Tensor, samples: int, seed: int) -> Tensor:
    """``E |z' - center|``, a 1-Lipschitz function's mean: two distributions differ in it by W1 at most."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the same noise for both ends of the pair
        drawn = distribution.rsample(torch.Size((samples,)))
    return ((drawn - center).flatten(2).square().sum(-1) + 1e-12).sqrt().mean(0)
