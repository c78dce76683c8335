"""``local_distances`` are the true metrics: what a certificate is made of must bound the Wasserstein distance."""

from __future__ import annotations

import torch
from torch import Tensor

from world_models.checks.outcome import CheckFailed, expect
from world_models.checks.sampling import SIGMAS
from world_models.checks.subject import Subject

SAMPLES = 512
REPEATS = 48  # of a distance that may be an estimate


def distances(subject: Subject) -> None:
    """local_distances are E |z' - ẑ| summed over latent dimensions, |r - R̄| and |terminated - D̄|."""
    model = subject.model
    with torch.no_grad():
        given = subject.transitions(model, 4)
        repeats = torch.stack([model.local_distances(*given)["transition"] for _ in range(REPEATS)])
        drawn = model.transition(given.latent, given.action).sample(torch.Size((SAMPLES,)))
        cost = (drawn - given.next_latent).flatten(2).abs().sum(-1)
        _equal(repeats, cost)
        found = model.local_distances(*given)
        reward = (given.reward - model.reward(given.latent, given.action)).abs()
        ended = model.termination(given.latent, given.action, given.next_latent)
    for key, truth, formula in (
        ("reward", reward, "|reward - R̄(z, a)|"),
        ("termination", (given.terminated.float() - ended).abs(), "|1[terminated] - D̄(z, a, z')|"),
    ):
        expect(
            torch.allclose(found[key], truth, atol=1e-5),
            f'local_distances["{key}"]: {formula} = {_shown(truth)}',
            _shown(found[key]),
            f'local_distances["{key}"]: a true metric, in the units of the environment, not a training loss',
        )


def _equal(repeats: Tensor, cost: Tensor) -> None:
    """Both ``[samples, 4]``: the reported distances, and the distance of each model sample to its target."""
    error = (repeats.mean(0) - cost.mean(0)).abs()
    tolerance = SIGMAS * (repeats.var(0) / len(repeats) + cost.var(0) / len(cost)).sqrt() + 0.01 * (1 + cost.mean(0))
    expect(
        bool((error <= tolerance).all()),
        f'local_distances["transition"]: E |z\' - ẑ|, summed over latent dimensions: {_shown(cost.mean(0))}',
        _shown(repeats.mean(0)),
        'local_distances["transition"]: world_models.costs.coupling_distance; a mean over dimensions, or smooth-L1, '
        "bounds nothing",
    )


def distances_bound_wasserstein(subject: Subject) -> None:
    """In a world of two outcomes, the mean of local_distances is at least the exact Wasserstein distance."""
    model = subject.model
    with torch.no_grad():
        given = subject.transitions(model, 2)
        latent, action = given.latent[:1], given.action[:1]
        twice = given._replace(latent=latent.expand_as(given.latent), action=action.expand_as(given.action))
        bound = torch.stack([model.local_distances(*twice)["transition"].mean() for _ in range(REPEATS)]).mean()
        drawn = model.transition(latent, action).sample(torch.Size((SAMPLES,))).flatten(1)
    exact = _to_two_outcomes(drawn, given.next_latent.detach().flatten(1))
    if float(bound) < 0.95 * exact - 1e-3:
        raise CheckFailed(
            f'local_distances["transition"]: on average at least the Wasserstein distance, {exact:.4g}',
            f"{float(bound):.4g}",
            'local_distances["transition"]: world_models.costs.coupling_distance',
        )


def _to_two_outcomes(drawn: Tensor, outcomes: Tensor) -> float:
    """W1 in the L1 metric between equally likely samples ``[2 K, D]`` and two equally likely outcomes ``[2, D]``.

    The best plan takes half of the samples to each: those to the first for which it is the cheapest in comparison.
    """
    first, second = torch.cdist(outcomes, drawn, p=1.0)
    gain = (first - second).sort().values[: len(drawn) // 2]
    return float(second.sum() + gain.sum()) / len(drawn)


def _shown(values: Tensor) -> str:
    return ", ".join(f"{float(value):.4g}" for value in values.flatten())
