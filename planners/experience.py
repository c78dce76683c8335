"""From a batch of real experience to what losses need: advantages, segments, and facts about the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives.value.functional import generalized_advantage_estimate

from world_models.contract import WorldModel

Value = Callable[[TensorDictBase], Tensor]


@torch.no_grad()
def add_advantages(batch: TensorDictBase, value: Value, gamma: float, lmbda: float) -> TensorDict:
    """GAE(lambda) on real experience, with the values that the behavior policy recorded.

    Bootstrapping stops at ``terminated`` and goes on at ``truncated``.

    Args:
        batch: experience ``[N, T]``.
        value: ``V̄ ∘ phi``: states ``[M]``, with what ``phi`` takes of each, to values ``[M]``; for the frames without
            a recorded value.
        gamma: discount.
        lmbda: GAE's lambda.

    Returns:
        A new TensorDict ``[N, T]`` that adds ``advantage`` and ``value_target``, ``[N, T, 1]``.
    """
    after = batch["next"]
    next_value = following_values(batch["state_value"], after, value)
    advantage, target = generalized_advantage_estimate(
        gamma, lmbda, batch["state_value"], next_value, after["reward"], after["done"], after["terminated"]
    )
    return TensorDict(batch.copy(), batch.shape).update({"advantage": advantage, "value_target": target})


def following_values(state_value: Tensor, after: TensorDictBase, value: Value) -> Tensor:
    """Values ``[N, T, 1]`` of the states after those of ``state_value`` ``[N, T, 1]``: the next one in its row, but
    where an episode or the row ends ``value`` is asked for that of the state in ``after`` ``[N, T]``."""
    needs_own = after["done"].squeeze(-1).clone()
    needs_own[:, -1] = True
    next_value = torch.roll(state_value, -1, dims=1)
    next_value[needs_own] = value(after[needs_own]).unsqueeze(-1)
    return next_value


def segments(batch: TensorDictBase, length: int) -> TensorDictBase:
    """``"n (s l) -> (n s) l"`` with ``l = length``: the unit from which minibatches are drawn."""
    return batch.reshape(batch.numel() // length, length)


def take(batch: TensorDictBase, indices: Tensor) -> TensorDictBase:
    """``batch[indices]`` along the first dimension, entry by entry as whole blocks of memory: pictures of bytes are
    copied several times faster than by indexing, which goes from number to number.

    Indices are drawn on the CPU, whatever the batch is on. They follow it from pinned memory, as a copy from any other
    waits for all that a GPU still has to do."""
    device = next(iter(batch.values(include_nested=True, leaves_only=True))).device
    if device.type == "cuda":
        indices = indices.pin_memory()
    there = indices.to(device, non_blocking=True)
    return batch.apply(lambda entry: entry.index_select(0, there), batch_size=(len(indices), *batch.shape[1:]))


class Facts(NamedTuple):
    """Transitions ``[...]`` as the arguments of ``WorldModel.local_losses``, in their order."""

    latent: Tensor
    action: Tensor
    reward: Tensor
    target: Tensor
    terminated: Tensor


def facts(world_model: WorldModel, latent: Tensor, next_latent: Tensor, transitions: TensorDictBase) -> Facts:
    """Facts about the world from transitions ``[...]`` and the latents ``[..., *latent_shape]`` on both their sides."""
    after = transitions["next"]
    target = world_model.target(next_latent, after["observation"])
    return Facts(latent, transitions["action"], after["reward"].squeeze(-1), target, after["terminated"].squeeze(-1))
