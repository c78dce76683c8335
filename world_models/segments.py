"""Latents of experience in segments, each distinct frame encoded once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

Encode = Callable[[Tensor], Tensor]


@torch.compiler.disable(recursive=False)  # how many episodes end is not known before; ``encode`` itself is compiled
def encode_transitions(
    encode: Encode, observation: Tensor, next_observation: Tensor, done: Tensor
) -> tuple[Tensor, Tensor]:
    """``encode`` of ``s`` and of ``s'`` in segments, each distinct frame encoded once.

    Inside an episode ``s'`` is the next step's ``s``; only at an episode's end, and after a segment's last
    step, is it a frame of its own. L steps thus cost L + 1 frames plus one per episode end, not 2 L.

    Args:
        encode: any function of observations, for any leading batch shape.
        observation: ``[S, L, *observation_shape]``.
        next_observation: the true successors, same shape; at an episode's end its last observation.
        done: ``[S, L]`` bool.

    Returns:
        Both codes, each ``[S, L, *code_shape]``.
    """
    segments, length = done.shape
    ends = done.clone()
    ends[:, -1] = False  # the last step's successor is the frame L + 1 anyway
    frames = torch.cat((observation, next_observation[:, -1:]), 1).flatten(0, 1)
    code = encode(torch.cat((frames, next_observation[ends])))
    walk = rearrange(code[: len(frames)], "(s l) ... -> s l ...", s=segments)
    after = walk[:, 1:]
    if len(code) > len(frames):
        after = after.clone()
        after[ends] = code[len(frames) :]
    return walk[:, :length], after
