"""How far a dream is believed: as far as real experience bears out what it says of actions.

An error of the model is no noise. It is the same in every state that is alike and in every update, so that a dream
whose advantages are mostly error walks a policy away from where it was good, step by step, each inside the
neighborhood. But the batch that a dream starts from knows the real advantages of the actions that were done. Regressed
on what model and critic say of the same actions, they give a slope: 1 where dreamt differences are real ones, 0 where
they have nothing to do with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

#: Share of the past in the running moments: one batch tells little, as real advantages are mostly noise.
DECAY = 0.9


class Trust(ABC):
    """Keeps the slope, and says what follows from it.

    Attributes:
        slope: of real advantages on dreamt ones, over the last batches; 1 before the first.
    """

    def __init__(self) -> None:
        self.covariance, self.variance = 0.0, 0.0

    @property
    @abstractmethod
    def share(self) -> float:
        """Share in [0, 1] of the neighborhood, and of the policy's losses, that a dream has."""

    @property
    def slope(self) -> float:
        """See the class."""
        return self.covariance / self.variance if self.variance > 0.0 else 1.0

    @torch.no_grad()
    def update(self, advantage: Tensor, done: Tensor, drawn: Tensor) -> None:
        """Takes note of one batch; all ``[M]``.

        What dreams say of a state as a whole is not judged, only what they say of its actions: of the one that was done
        against another that the policy draws there. Half the mean square of the differences is their variance under
        the policy. What a model draws at random counts as error.

        Args:
            advantage: real, of the actions that were done.
            done: what the dream says they are worth: reward and discounted value of what follows.
            drawn: what it says of an action drawn from the policy in the same states.
        """
        difference = done - drawn
        covariance = float((difference * (advantage - advantage.mean())).mean())
        variance = float(difference.square().mean()) / 2.0
        self.covariance = DECAY * self.covariance + (1.0 - DECAY) * covariance
        self.variance = DECAY * self.variance + (1.0 - DECAY) * variance

    def state_dict(self) -> dict[str, Any]:
        """What ``update`` has gathered."""
        return {"covariance": self.covariance, "variance": self.variance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.covariance, self.variance = state["covariance"], state["variance"]


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
