"""Deterministic latent transition: ``z' = f(z, a)``. The coupling cost is then W1 itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import Distribution
from torchrl.data import TensorSpec

from world_models.base import LatentModel, Part
from world_models.distributions import Point
from world_models.transition import PlainNetwork


class DeterministicModel(LatentModel):
    """One next latent for each latent and action. Cannot know that the world is random.

    Args:
        network: ``PlainNetwork`` or a Lipschitz one. Further arguments: ``LatentModel``.
    """

    stochastic = False

    def __init__(
        self, observation_spec: TensorSpec, num_actions: int, network: Part = PlainNetwork, **parts: Any
    ) -> None:
        super().__init__(observation_spec, num_actions, lambda shape: network(shape, num_actions, 1, False), **parts)
        self.transition_lipschitz = self.network.lipschitz

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """A point at ``f(z, a)``."""
        location = self.network(latent, action).location.squeeze(-1 - len(self.latent_spec.shape))
        return Point(location, batch_shape=action.shape, event_shape=self.latent_spec.shape)
