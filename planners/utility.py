"""What a phase maximizes in the place of the advantage: the one difference between PPO, DeepMDP and DeepSPI."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor


class Weighed(NamedTuple):
    """A utility (enters the ratio and the clip) and an auxiliary loss (does not); both have the batch shape."""

    utility: Tensor
    auxiliary: Tensor


class Utility(ABC):
    """Joins advantages and local losses, transition by transition."""

    #: Whether local losses are needed at all; where not, the next frames are never encoded.
    uses_model: bool = True

    @abstractmethod
    def __call__(self, advantage: Tensor, losses: TensorDictBase | None) -> Weighed:
        """Advantages ``[...]`` and local losses (``transition``, ``reward``, ``termination``, each ``[...]``)."""

    def penalty(self, losses: TensorDictBase) -> Tensor:
        """Local losses ``[...]`` by name, weighed and summed to ``[...]``: how rehearsed transitions are learnt."""
        raise NotImplementedError(f"{type(self).__name__} does not say how rehearsed losses are weighed (penalty).")


class Advantage(Utility):
    """PPO: the advantage alone; no model is learnt."""

    uses_model = False

    def __call__(self, advantage: Tensor, losses: TensorDictBase | None) -> Weighed:
        return Weighed(advantage, torch.zeros_like(advantage))


class _LocalLosses(Utility):
    """Args:
    alpha_R: weight of the reward and termination losses, at least 0.
    alpha_P: weight of the transition loss, at least 0.
    """

    def __init__(self, alpha_R: float, alpha_P: float) -> None:  # noqa: N803 - the paper's symbols
        for name, value in (("alpha_R", alpha_R), ("alpha_P", alpha_P)):
            if value < 0:
                raise ValueError(f"planner.ground.utility.{name}={value}: the weight of a loss is at least 0")
        self.alpha_R, self.alpha_P = alpha_R, alpha_P

    def penalty(self, losses: TensorDictBase) -> Tensor:
        """``alpha_R (l_R + l_D) + alpha_P l_P``, per transition."""
        return self.alpha_R * (losses["reward"] + losses["termination"]) + self.alpha_P * losses["transition"]


class Auxiliary(_LocalLosses):
    """DeepMDP (Gelada et al. 2019) on PPO: local losses beside the objective, outside the ratio and the clip."""

    def __call__(self, advantage: Tensor, losses: TensorDictBase | None) -> Weighed:
        assert losses is not None
        return Weighed(advantage, self.penalty(losses))


class Unified(_LocalLosses):
    """DeepSPI: ``U = A - alpha_R l_R - alpha_P l_P`` (arXiv 2510.12312): the importance ratio multiplies the
    losses too, and the clip acts on them."""

    def __call__(self, advantage: Tensor, losses: TensorDictBase | None) -> Weighed:
        assert losses is not None
        return Weighed(advantage - self.penalty(losses), torch.zeros_like(advantage))
