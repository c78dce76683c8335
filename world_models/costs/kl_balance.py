"""DreamerV3's transition loss, for latents of which one-hots are a part."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from world_models.costs.cost import Cost, over_dimensions
from world_models.costs.one_hot import one_hot_of
from world_models.distributions import SideBySide


class KLBalance(Cost):
    """Two divergences of the latent from the prior, of equal value and different gradient (Hafner et al. 2023).

    The *dynamics* part draws the prior to the latents, the *representation* part the latents to what can be predicted.
    As the latent is a point, its divergence is a cross-entropy. What is below ``free`` nats in all has no gradient.
    In nats, a mean over the one-hot variables.

    Args:
        dynamics, representation: weights of the two.
        free: nats per transition, over all variables together, below which there is nothing to gain.
    """

    def __init__(self, dynamics: float = 1.0, representation: float = 0.1, free: float = 1.0) -> None:
        for key, value in (("dynamics", dynamics), ("representation", representation), ("free", free)):
            if value < 0:
                raise ValueError(f"world_model.cost.{key}={value}: must be at least 0.")
        self.dynamics, self.representation, self.free = dynamics, representation, free

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        prior, one_hots = distribution, next_latent
        if isinstance(distribution, SideBySide):
            prior, one_hots = distribution.parts[-1], distribution.split(next_latent)[-1]
        logits = one_hot_of(prior, self).logits
        parts = (self.dynamics, logits, one_hots.detach()), (self.representation, logits.detach(), one_hots)
        costs = [
            weight * over_dimensions(-(chosen * scores), prior, "sum").clamp_min(self.free)
            for weight, scores, chosen in parts
        ]
        return torch.stack(costs).sum(0) / prior.event_shape[:-1].numel()
