"""Diagonal normal latent transition."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Normal
from torchrl.data import TensorSpec

from world_models.base import LatentModel, Part, event
from world_models.transition import MIN_SCALE, PlainNetwork


class NormalModel(LatentModel):
    """``z' ~ N(mean(z, a), diag scale(z, a)^2)``: unimodal, each latent dimension on its own.

    With a Lipschitz network W1 is 1-Lipschitz in ``z`` (the same noise moves two normals by at most
    ``|difference of means| + |difference of scales|``, and ``E noise^2 = 1``).

    Args:
        network: ``PlainNetwork`` or a Lipschitz one. Further arguments: ``LatentModel``.
    """

    def __init__(
        self, observation_spec: TensorSpec, num_actions: int, network: Part = PlainNetwork, **parts: Any
    ) -> None:
        super().__init__(observation_spec, num_actions, lambda shape: network(shape, num_actions, 1, True), **parts)
        self.transition_lipschitz = self.network.lipschitz

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """A normal with diagonal covariance."""
        dims = len(self.latent_spec.shape)
        location, scale = self.network(latent, action)
        assert scale is not None
        location, scale = location.squeeze(-1 - dims), scale.squeeze(-1 - dims)
        # A Lipschitz network's scale may be 0, where costs are not finite; a constant more moves nothing.
        return event(Normal(location, scale + MIN_SCALE, validate_args=False), dims)
