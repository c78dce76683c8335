"""From a batch of real experience to what losses need: advantages, segments, and latents of each frame once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives.value.functional import generalized_advantage_estimate

Encode = Callable[[Tensor], Tensor]


def encode_transitions(
    encode: Encode, observation: Tensor, next_observation: Tensor, done: Tensor
) -> tuple[Tensor, Tensor]:
    """Latents ``z = phi(s)`` and ``z' = phi(s')`` of segments, each distinct frame encoded once.

    Inside an episode ``s'`` is the next step's ``s``; only at an episode's end, and after a segment's last
    step, is it a frame of its own. L steps thus cost L + 1 frames plus one per episode end, not 2 L.

    Args:
        encode: ``phi``, for any leading batch shape.
        observation: ``[S, L, *observation_shape]``.
        next_observation: the true successors, same shape; at an episode's end its last observation.
        done: ``[S, L]`` bool.

    Returns:
        ``z`` and ``z'``, each ``[S, L, *latent_shape]``.
    """
    segments, length = done.shape
    ends = done.clone()
    ends[:, -1] = False  # the last step's successor is the frame L + 1 anyway
    frames = torch.cat((observation, next_observation[:, -1:]), 1).flatten(0, 1)
    latent = encode(torch.cat((frames, next_observation[ends])))
    walk = rearrange(latent[: len(frames)], "(s l) ... -> s l ...", s=segments)
    next_latent = walk[:, 1:]
    if len(latent) > len(frames):
        next_latent = next_latent.clone()
        next_latent[ends] = latent[len(frames) :]
    return walk[:, :length], next_latent


@torch.no_grad()
def add_advantages(batch: TensorDictBase, value: Encode, gamma: float, lmbda: float) -> TensorDict:
    """GAE(lambda) on real experience, with the values that the behavior policy recorded.

    Bootstrapping stops at ``terminated`` and goes on at ``truncated``.

    Args:
        batch: experience ``[N, T]``.
        value: ``V̄ ∘ phi``: observations ``[M, *]`` to values ``[M]``, for the frames without a recorded value.
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
    next_value[needs_own] = value(after["observation"][needs_own]).unsqueeze(-1)
    advantage, target = generalized_advantage_estimate(
        gamma, lmbda, batch["state_value"], next_value, after["reward"], after["done"], after["terminated"]
    )
    return TensorDict(batch.copy(), batch.shape).update({"advantage": advantage, "value_target": target})


def segments(batch: TensorDictBase, length: int) -> TensorDictBase:
    """``"n (s l) -> (n s) l"`` with ``l = length``: the unit from which minibatches are drawn."""
    return batch.reshape(batch.numel() // length, length)
