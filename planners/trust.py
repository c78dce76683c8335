"""How far a dream is believed: as far as real experience bears out what it says of actions.

An error of the model is no noise. It is the same in every state that is alike and in every update, so that a dream
whose advantages are mostly error walks a policy away from where it was good, step by step, each inside the
neighborhood. But the batch that a dream starts from knows the real advantages of the actions that were done. Regressed
on what model and critic say of the same actions, they give a slope: 1 where dreamt differences are real ones, 0 where
they have nothing to do with them.

What the slope does not see: later steps than a dream's first; errors of the critic that real advantages have too, as
they end in its values; and that the model has already learnt from the batch that it is judged by.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

#: Share of the past in the running moments: one batch tells little, as real advantages are mostly noise.
DECAY = 0.9


class Trust(ABC):
    """Keeps the slope, and says what follows from it."""

    def __init__(self) -> None:
        self.covariance = self.variance = 0.0
        self.batches = 0

    @property
    @abstractmethod
    def share(self) -> float:
        """Share in [0, 1] of the soft neighborhood, and of the policy's losses, that a dream has."""

    @property
    def slope(self) -> float:
        """Of real advantages on dreamt ones, over the last batches; 1 before the first, 0 where dreams mean nothing."""
        if not self.batches:
            return 1.0
        return self.covariance / self.variance if self.variance > 0.0 else 0.0

    @torch.no_grad()
    def update(self, advantage: Tensor, first: Tensor, second: Tensor) -> None:
        """Takes note of one batch; all ``[M]``.

        What dreams say of a state as a whole is not judged, only what they say of its actions: how much more the one
        that was done is worth than another that the policy draws there. Said twice, each time drawn from the model
        anew, half the mean product is the variance of what the model means under the policy: chance, which belongs
        to the world, is in neither.

        Args:
            advantage: real, of the actions that were done.
            first, second: the difference that the dream says there is.
        """
        covariance = float(((first + second) / 2.0 * (advantage - advantage.mean())).mean())
        variance = float((first * second).mean()) / 2.0
        if not self.batches:  # one batch tells little: the first is believed, with all that it says
            self.covariance = self.variance = float((first.square() + second.square()).mean()) / 4.0
        self.batches += 1
        self.covariance = DECAY * self.covariance + (1.0 - DECAY) * covariance
        self.variance = DECAY * self.variance + (1.0 - DECAY) * variance

    def state_dict(self) -> dict[str, Any]:
        """What ``update`` has gathered."""
        return {"covariance": self.covariance, "variance": self.variance, "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.covariance, self.variance = state["covariance"], state["variance"]
        self.batches = state.get("batches", int(self.variance != 0.0))  # earlier versions did not count


class Full(Trust):
    """Believes every dream, as the paper does."""

    @property
    def share(self) -> float:
        return 1.0


class Calibrated(Trust):
    """Believes a dream by its slope, no less than 0 and no more than 1."""

    @property
    def share(self) -> float:
        return min(max(self.slope, 0.0), 1.0)
