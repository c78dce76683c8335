"""Rehearsal: the model goes on learning from what the policy no longer does.

The local losses need only be small where the behavior policy goes, but a model that forgets what it once saw
there (a failure that is now avoided, a reward that is now declined) lets the next dream find it attractive
again. A rehearsal keeps a uniform sample of all experience so far and adds its local losses to the ground
phase, outside the ratio and the clip: they are supervised facts about the world, not about the policy.

Of a recurrent model the memory is kept as it was, in the terms of the network of then, and its recurrence, which
belongs to the encoder, learns from the rehearsed transitions too.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase

from planners.experience import Facts, facts, take
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


class Reservoir:
    """A uniform sample, without replacement, of all transitions seen (Vitter 1985, Algorithm R), kept where these are.

    Args:
        capacity: transitions kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.seen = 0
        self.kept: TensorDict | None = None

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    @torch.no_grad()
    def extend(self, transitions: TensorDictBase) -> None:
        """Offers transitions ``[M]``: the i-th one ever seen is kept with probability ``capacity / i``."""
        transitions = transitions.select(*PATHS, strict=False)
        device = transitions["action"].device
        kept = _room_for(transitions, self.capacity) if self.kept is None else self.kept
        self.kept = kept.to(device)  # says where it is from the first on: a compiled loss would be compiled again
        ordinal = torch.arange(self.seen, self.seen + len(transitions))
        slot = torch.where(ordinal < self.capacity, ordinal, (torch.rand(len(ordinal)) * (ordinal + 1)).long())
        self.seen += len(transitions)
        taken = slot < self.capacity
        last = torch.full((self.capacity,), -1)  # of several that take one slot, the last stays
        last.scatter_reduce_(0, slot[taken], torch.arange(len(slot))[taken], "amax")
        slots = (last >= 0).nonzero().squeeze(-1)
        self.kept[slots.to(device)] = take(transitions, last[slots])

    def sample(self, count: int) -> TensorDict:
        """``count`` transitions, drawn with replacement. At least one must have been seen."""
        assert self.kept is not None
        return take(self.kept, torch.randint(len(self), (count,)))

    def state_dict(self) -> dict[str, Any]:
        """What is kept, by name, and how many were seen."""
        # Cloned: of a view all of the room would be written.
        kept = {} if self.kept is None else self.kept[: len(self)].clone().flatten_keys().to_dict()
        return {"seen": self.seen, "kept": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.seen, self.kept = state["seen"], None
        if self.seen:
            kept = TensorDict(state["kept"], len(self)).unflatten_keys()
            self.kept = _room_for(kept, self.capacity)
            self.kept[: len(self)] = kept


def _room_for(transitions: TensorDictBase, capacity: int) -> TensorDict:
    entries = transitions.flatten_keys().items()
    room = {name: value.new_zeros(capacity, *value.shape[1:]) for name, value in entries}
    return TensorDict(room, capacity).unflatten_keys()


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
        self.reservoir.extend(batch.flatten(0, 1))

    def sample(self) -> TensorDict:
        """Past transitions ``[M]``, with which a minibatch is learnt."""
        return self.reservoir.sample(self.transitions)


@torch.no_grad()
def recalled(world_model: WorldModel, past: TensorDictBase) -> Facts:
    """Past transitions ``[M]`` as the local losses take them. Their latents carry no gradient: the encoder moves the
    policy, and the past says nothing about that. (A recurrence that is part of the transition moves with it.)"""
    latent, next_latent = (z.squeeze(1) for z in world_model.believe(past.unsqueeze(1)))
    return facts(world_model, latent, next_latent, past)
