"""From a batch of real experience to what losses need: advantages and segments."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives.value.functional import generalized_advantage_estimate

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
    done = after["done"].squeeze(-1)
    needs_own = done.clone()
    needs_own[:, -1] = True
    next_value = torch.roll(batch["state_value"], -1, dims=1)
    next_value[needs_own] = value(after[needs_own]).unsqueeze(-1)
    advantage, target = generalized_advantage_estimate(
        gamma, lmbda, batch["state_value"], next_value, after["reward"], after["done"], after["terminated"]
    )
    return TensorDict(batch.copy(), batch.shape).update({"advantage": advantage, "value_target": target})


def segments(batch: TensorDictBase, length: int) -> TensorDictBase:
    """``"n (s l) -> (n s) l"`` with ``l = length``: the unit from which minibatches are drawn."""
    return batch.reshape(batch.numel() // length, length)
