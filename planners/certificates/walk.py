"""A batch of experience as one walk of transitions, in independent units that sums and means are taken over."""

from __future__ import annotations

from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.certificates.evidence import PARTS
from world_models.contract import WorldModel


class Walk(NamedTuple):
    """Transitions ``[M]`` of the data in order, those of an independent unit one after the other.

    ``unit`` and ``step`` ``[M]`` number them; ``errors`` ``[M, 4]`` are the local losses and the cuts, as ``PARTS``
    names them; ``behavior`` ``[M, A]`` are log-probabilities; ``whole`` tells whether a unit is an episode, from its
    initial state on.
    """

    latent: Tensor
    action: Tensor
    next_latent: Tensor
    behavior: Tensor
    reward: Tensor
    done: Tensor
    errors: Tensor
    unit: Tensor
    step: Tensor
    whole: bool

    @property
    def lengths(self) -> list[int]:
        """Steps of each unit."""
        return torch.bincount(self.unit).tolist()

    @property
    def cut(self) -> Tensor:
        """``[M]``: whether a time limit cut the episode off after this step."""
        return self.errors[:, PARTS.index("cut")] > 0.0

    def summed(self, values: Tensor) -> Tensor:
        """``values [M, ...]`` added up over each unit: ``[units, ...]``, in double precision."""
        units = int(self.unit.max()) + 1
        total = torch.zeros(units, *values.shape[1:], dtype=torch.float64, device=values.device)
        return total.index_add_(0, self.unit, values.double())

    def to_go(self, gamma: float) -> Tensor:
        """Discounted rewards from every step to its episode's end, or its unit's: ``[units, longest]``, 0 beyond."""
        shape = len(self.lengths), max(self.lengths)
        returns, going_on = self.reward.new_zeros(shape), self.reward.new_zeros(shape)
        returns[self.unit, self.step] = self.reward
        going_on[self.unit, self.step] = gamma * (~self.done).to(self.reward.dtype)
        for column in range(shape[1] - 2, -1, -1):
            returns[:, column] += going_on[:, column] * returns[:, column + 1]
        return returns

    def starts(self, wanted: int) -> Tensor:
        """Latents ``[units * k, *]`` to dream from: each episode's first, or about ``wanted`` at random from units of
        equal length, equally many of each."""
        if self.whole:
            return self.latent[self.step == 0]
        rows = self.latent.view(len(self.lengths), -1, *self.latent.shape[1:])
        shuffled = torch.rand(rows.shape[:2], device=rows.device).argsort(1)
        columns = shuffled[:, : max(wanted // len(rows), 1)]
        return rows[torch.arange(len(rows), device=rows.device)[:, None], columns].flatten(0, 1)


def walk_through(world_model: WorldModel, batch: TensorDictBase, behavior: Tensor) -> Walk:
    """The walk of a batch ``[N, T]``, each environment a unit, or of whole episodes ``[1, M]`` with ``episode`` and
    ``step``; ``behavior`` ``[N, T, A]`` are the log-probabilities of the policy that gathered it."""
    latent, next_latent = world_model.believe(batch)
    after = {key: batch["next", key].squeeze(-1) for key in ("reward", "terminated", "done")}
    errors = world_model.local_distances(latent, batch["action"], after["reward"], next_latent, after["terminated"])
    errors["cut"] = (after["done"] & ~after["terminated"]).to(latent.dtype)
    whole = "episode" in batch.keys()
    rows, columns = torch.meshgrid(*(torch.arange(n, device=latent.device) for n in batch.shape), indexing="ij")
    return Walk(
        latent=latent.flatten(0, 1),
        action=batch["action"].flatten(),
        next_latent=next_latent.flatten(0, 1),
        behavior=behavior.flatten(0, 1),
        reward=after["reward"].flatten(),
        done=after["done"].flatten(),
        errors=torch.stack([errors[name] for name in PARTS], -1).flatten(0, 1),
        unit=(batch["episode"] if whole else rows).flatten(),
        step=(batch["step"] if whole else columns).flatten(),
        whole=whole,
    )
