"""Rehearsal: the model goes on learning from what the policy no longer does.

The local losses need only be small where the behavior policy goes, but a model that forgets what it once saw
there (a failure that is now avoided, a reward that is now declined) lets the next dream find it attractive
again. A rehearsal keeps a uniform sample of all experience so far and adds its local losses to the ground
phase, outside the ratio and the clip: they are supervised facts about the world, not about the policy.

Of a recurrent model the memory is kept as it was, in the terms of the network of then, and its recurrence, which
belongs to the encoder, learns from the rehearsed transitions too.
"""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase

from planners.buffers import Reservoir
from planners.experience import Facts, facts
from planners.optimization import at_least_one, not_below_zero
from world_models.contract import WorldModel

#: What a transition needs for its local losses; of these only a recurrent model's experience has a memory.
PATHS: tuple[tuple[str, ...], ...] = (
    ("observation",),
    ("memory",),
    ("action",),
    ("next", "observation"),
    ("next", "reward"),
    ("next", "terminated"),
    ("next", "done"),
)


class Rehearsal:
    """Local losses on past transitions, beside each minibatch of the ground phase.

    Args:
        capacity: transitions kept in memory, each with two observations.
        transitions: drawn for each minibatch.
        weight: of their losses, on top of ``alpha_R`` and ``alpha_P``.
    """

    def __init__(self, capacity: int, transitions: int, weight: float) -> None:
        at_least_one("ground.rehearsal", capacity=capacity, transitions=transitions)
        not_below_zero("ground.rehearsal", weight=weight)
        self.transitions, self.weight = transitions, weight
        self.reservoir = Reservoir(capacity)

    def add(self, batch: TensorDictBase) -> None:
        """Takes note of a batch of real experience ``[N, T]``."""
        self.reservoir.extend(batch.flatten(0, 1).select(*PATHS, strict=False))

    def sample(self) -> TensorDict:
        """Past transitions ``[M]``, with which a minibatch is learnt."""
        return self.reservoir.sample(self.transitions)


@torch.no_grad()
def recalled(world_model: WorldModel, past: TensorDictBase) -> Facts:
    """Past transitions ``[M]`` as the local losses take them. Their latents carry no gradient: the encoder moves the
    policy, and the past says nothing about that. (A recurrence that is part of the transition moves with it.)"""
    latent, next_latent = (z.squeeze(1) for z in world_model.believe(past.unsqueeze(1)))
    return facts(world_model, latent, next_latent, past)
