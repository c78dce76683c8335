"""The unit in which a critic's errors are counted: of reward, or of the spread of returns.

A squared error in units of reward grows with the square of the returns. In CartPole, whose values reach 100, it
outweighs the policy's objective, which is in units of a normalized advantage, a thousand times, and what the
encoder and the shared layers learn is the critic's alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

#: Returns that differ by less are alike: keeps a constant return from blowing up rounding errors.
_LEAST = 1e-6


class ValueScale(ABC):
    """A running unit for errors of values.

    Attributes:
        square: square of the unit, a scalar by which a squared error is divided. One tensor, filled anew: a compiled
            loss would be compiled again for every number that it has not met, and a CUDA graph recorded again for every
            tensor.
    """

    def __init__(self) -> None:
        self.square = torch.ones(())

    def to(self, device: torch.device) -> None:
        """Takes ``square`` to a device; called before anything is recorded."""
        self.square = self.square.to(device)

    @abstractmethod
    def update(self, target: Tensor) -> None:
        """Takes note of a batch's value targets, of any shape, in units of reward."""

    def state_dict(self) -> dict[str, Any]:
        """What ``update`` has gathered."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        if state:
            raise ValueError(f"{type(self).__name__} has nothing to restore, and this has {', '.join(state)}")


class Reward(ValueScale):
    """Errors in units of reward, as in PPO's and the paper's loss."""

    def update(self, target: Tensor) -> None:
        """Nothing to take note of."""


class ReturnDeviation(ValueScale):
    """Errors in standard deviations of all value targets so far (Welford 1962, by batches; Chan et al. 1983).

    All so far, not the last ones: a policy that always reaches the same return must not make noise large.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count, self.mean, self.sum_of_squares = 0, 0.0, 0.0

    def update(self, target: Tensor) -> None:
        """Adds a batch's value targets."""
        target = target.double()
        count, mean = target.numel(), float(target.mean())
        total, shift = self.count + count, mean - self.mean
        self.sum_of_squares += float((target - mean).square().sum()) + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count = total
        self._measure()

    def _measure(self) -> None:
        """The variance of the targets; 1 before the first."""
        if self.count:
            self.square.fill_(max(self.sum_of_squares / self.count, _LEAST))

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean, "sum_of_squares": self.sum_of_squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.mean, self.sum_of_squares = state["count"], state["mean"], state["sum_of_squares"]
        if not math.isfinite(self.sum_of_squares):
            raise ValueError(f"the sum of squares is {self.sum_of_squares}")
        self._measure()
