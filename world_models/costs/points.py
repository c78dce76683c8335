"""Costs between ``z'`` and what the model draws, dimension by dimension: smooth-L1 and squared."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from world_models.costs.cost import Cost, over_dimensions
from world_models.costs.strata import stratified


class _PointCost(Cost):
    """A cost of each latent dimension of a reparameterized sample.

    Args:
        reduction: ``mean`` over latent dimensions, or ``sum`` (the paper's, except for ``deterministic``).
    """

    def __init__(self, reduction: Literal["mean", "sum"] = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"world_model.cost.reduction={reduction}: Allowed: mean, sum.")
        self.reduction = reduction

    def per_dimension(self, sample: Tensor, point: Tensor) -> Tensor:
        """Cost of each dimension of two latents of one shape."""
        raise NotImplementedError

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        samples, weights = stratified(distribution)
        points = next_latent.unsqueeze(weights.ndim - 1).expand_as(samples)
        cost = over_dimensions(self.per_dimension(samples, points), distribution, self.reduction)
        return (weights * cost).sum(-1)


class SmoothL1(_PointCost):
    """The paper's: smooth-L1 between ``z'`` and one reparameterized sample; with another ``beta`` Huber's loss.

    Its minimizer is the median point, not the distribution: a model so trained forgets that the world is
    random.

    Args:
        reduction: ``mean`` over latent dimensions, or ``sum`` (the paper's, except for ``deterministic``).
        beta: the error where the square ends: ``e^2 / (2 beta)`` below, ``e - beta / 2`` above, which is Huber's
            loss over ``beta``.
    """

    def __init__(self, reduction: Literal["mean", "sum"] = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if beta <= 0:
            raise ValueError(f"world_model.cost.beta={beta}: must be above 0, e.g. 1.")
        self.beta = beta

    def per_dimension(self, sample: Tensor, point: Tensor) -> Tensor:
        """Smooth-L1 of each dimension."""
        return F.smooth_l1_loss(sample, point, reduction="none", beta=self.beta)


class Squared(_PointCost):
    """The expected squared error of a sample, ``(z' - mean)^2 + variance``; of one reparameterized sample where the
    distribution does not tell its variance.

    Its minimizer is the mean of the world's next latents, without spread.
    """

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        try:
            error = self.per_dimension(distribution.mean, next_latent) + distribution.variance
        except NotImplementedError:
            return super().__call__(distribution, next_latent)
        return over_dimensions(error, distribution, self.reduction)

    def per_dimension(self, sample: Tensor, point: Tensor) -> Tensor:
        """Squared error of each dimension."""
        return (sample - point).square()
