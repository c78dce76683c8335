"""Spread: latents of different states are held apart, whatever else would have them alike.

No local loss asks for it: where all states share one latent, every transition is foreseen and every reward is the mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TINY = 1e-6  # of a share of the mean square: keeps the gradient of the root finite where a unit is constant


def relative_variance(rows: Tensor) -> Tensor:
    """Variance of each unit over the rows ``[N, D]``, as a share of the mean square of all units: ``[D]``."""
    size = rows.square().mean().clamp_min(torch.finfo(rows.dtype).tiny)
    return (rows - rows.mean(0)).square().mean(0) / size


class Variance:
    """The variance term of VICReg (Bardes et al. 2022, arXiv 2105.04906, eq. 1), relative to the latents' size.

    Each unit's standard deviation over the batch, over the root of the mean square of all units, is asked to be at
    least ``target``: ``weight * mean_j max(0, target - sqrt(var_j / size^2 + 1e-6))``. Nothing is gained by longer or
    shorter latents, nor by one unit that varies for all: ``model/latent_spread`` is the same ratio with all units taken
    together. A unit that is constant over the batch has no gradient, so that one-hots, whose classes are never or often
    chosen, gain nothing by it.

    Args:
        weight: of the loss; with 0 nothing is computed.
        target: deviation that is enough, above 0 and at most 1.
    """

    def __init__(self, weight: float, target: float = 0.3) -> None:
        if not 0.0 <= weight < math.inf:
            raise ValueError(f"world_model.spread.weight={weight}: must be at least 0; 0 lets latents merge.")
        if not 0.0 < target <= 1.0:
            raise ValueError(f"world_model.spread.target={target}: must be above 0 and at most 1, e.g. 0.3.")
        self.weight, self.target = weight, target

    def __call__(self, latent: Tensor, latent_dims: int) -> Tensor:
        """The loss of a batch of latents ``[..., *latent_shape]``, told of each alike: ``[...]``.

        Args:
            latent: with gradient into the encoder.
            latent_dims: number of axes of one latent.
        """
        batch = latent.shape[: latent.ndim - latent_dims]
        if self.weight == 0.0 or batch.numel() == 0:
            return latent.new_zeros(batch)
        rows = latent.reshape(batch.numel(), -1)
        deviation = (relative_variance(rows) + TINY).sqrt()
        return (self.weight * torch.relu(self.target - deviation).mean()).expand(batch)
