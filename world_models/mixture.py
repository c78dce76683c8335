"""The paper's model: a *soft* mixture of K diagonal normals with truncated noise, 1-Lipschitz in ``z``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torchrl.data import TensorSpec

from world_models.base import LatentModel, Part
from world_models.distributions import SoftMixture
from world_models.transition import LipschitzNetwork


class MixtureModel(LatentModel):
    """``z' = sum_k w_k(a) (mean_k(z, a) + scale_k(z, a) noise_k)``, noise truncated to [-1, 1].

    A soft mixture averages its components, so it is one unimodal distribution whatever K: it cannot say
    "either here or there". The weights depend on the action alone: weights that moved with ``z`` would
    cost an amount of Lipschitz constant that grows with the distance between components.

    Args:
        network: ``LipschitzNetwork``, ``PaperLipschitzNetwork`` or ``PlainNetwork``; with the first two
            the transition is 1-Lipschitz in ``z``.
        components: K. Further arguments: ``LatentModel``.
    """

    def __init__(
        self,
        observation_spec: TensorSpec,
        num_actions: int,
        network: Part = LipschitzNetwork,
        components: int = 5,
        **parts: Any,
    ) -> None:
        if components < 1:
            raise ValueError(f"world_model.components={components}: must be at least 1, e.g. 5.")
        super().__init__(
            observation_spec,
            num_actions,
            lambda shape: network(shape, num_actions, components, True),
            **parts,
        )
        self.weight_logits = nn.Parameter(torch.zeros(num_actions, components))
        self.transition_lipschitz = self.network.lipschitz

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """The soft mixture with weights of the action."""
        location, scales = self.network.soft(latent, action, self.weight_logits.softmax(-1))
        return SoftMixture(location, scales, len(self.latent_spec.shape))
