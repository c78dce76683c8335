"""Games of a known length, and a planner that always does the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Unbounded

from dreamspi.envs.base import Step, VectorEnv


class Countdown(VectorEnv):
    """Copy i's games last ``lengths[i]`` steps and pay 1 for action 1; its picture is the step."""

    def __init__(self, lengths: list[int]) -> None:
        super().__init__(len(lengths), Unbounded((3,)), 3)
        self.lengths = torch.tensor(lengths)
        self.clock = torch.zeros_like(self.lengths)

    def _begin(self, seed: int) -> Tensor:
        return self._restart(torch.ones_like(self.clock, dtype=torch.bool))

    def _restart(self, mask: Tensor) -> Tensor:
        self.clock = self.clock.masked_fill(mask, 0)
        return torch.ones(self.num_envs, 3)

    def _advance(self, action: Tensor) -> Step:
        self.clock = self.clock + 1
        over = self.clock >= self.lengths
        reward = (action == 1).float()
        return Step(torch.ones(self.num_envs, 3), reward, reward, over, torch.zeros_like(over), over)

    def render(self) -> np.ndarray:
        return np.full((16, 16, 3), int(self.clock[0]), dtype=np.uint8)


def always(action: int) -> Any:
    def policy(state: TensorDictBase) -> TensorDictBase:
        return state.set("action", torch.full(state.shape, action))

    return SimpleNamespace(policy=policy, device=torch.device("cpu"), memory_spec=None)
