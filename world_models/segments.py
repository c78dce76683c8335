"""Latents of experience in segments, each distinct frame encoded once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict.utils import expand_as_right
from torch import Tensor

Encode = Callable[[Tensor], Tensor]


def encode_transitions(
    encode: Encode, encode_successor: Encode, observation: Tensor, next_observation: Tensor, done: Tensor
) -> tuple[Tensor, Tensor]:
    """``encode`` of ``s`` and of ``s'`` in segments, each distinct frame encoded once.

    Inside an episode ``s'`` is the next step's ``s``; only at an episode's end, and after a segment's last
    step, is it a frame of its own. L steps thus cost L + 1 frames plus one per episode end, not 2 L (compiled they do,
    as a graph has one size).

    Args:
        encode: any function of observations, for any leading batch shape.
        encode_successor: the same, perhaps without gradient, for frames that are no step's ``s``.
        observation: ``[S, L, *observation_shape]``.
        next_observation: the true successors, same shape; at an episode's end its last observation.
        done: ``[S, L]`` bool.

    Returns:
        Both codes, each ``[S, L, *code_shape]``.
    """
    alone = done.clone()
    alone[:, -1] = True
    code = encode(observation)
    after = torch.roll(code, -1, 1)
    if torch.compiler.is_compiling():  # how many frames stand alone is not known when a graph is made: all are encoded
        codes = encode_successor(next_observation)
        return code, torch.where(expand_as_right(alone, codes), codes, after)
    after[alone] = encode_successor(next_observation[alone])
    return code, after
