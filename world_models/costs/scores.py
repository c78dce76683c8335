"""Strictly proper scores: least, in expectation, for the true distribution alone. They keep the world's randomness."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical
from torchrl.modules import Delta

from world_models.costs.cost import Cost, base_of
from world_models.costs.one_hot import CrossEntropy
from world_models.costs.strata import stratified
from world_models.distributions import SideBySide
from world_models.names import Unsuited


class EnergyScore(Cost):
    """``2 E d(z', ẑ) - E d(ẑ, ẑ')`` from independent model samples, d the Euclidean distance over the square
    root of the number of dimensions.

    Strictly proper (Gneiting & Raftery 2007). The values may be negative only through sampling;
    ``E d(z', z'')`` of the world itself is the least mean. Of a mixture every component is sampled each time, and
    all pairs of them are weighed.

    Args:
        samples: number of model samples, at least 2.
    """

    def __init__(self, samples: int = 2) -> None:
        if samples < 2:
            raise ValueError(f"world_model.cost.samples={samples}: must be at least 2.")
        self.samples = samples

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        dims = len(distribution.event_shape)
        strata = [stratified(distribution) for _ in range(self.samples)]
        weights = strata[0].weights
        samples = torch.stack([each.samples for each in strata]).flatten(-dims)
        to_world = _rms_distance(samples, next_latent.flatten(-dims).unsqueeze(-2)).squeeze(-1)
        among = _rms_distance(samples, samples.roll(1, 0))
        pairs = torch.einsum("...k,...kl,...l->...", weights, among.mean(0), weights)
        return 2 * (weights * to_world.mean(0)).sum(-1) - pairs


def _rms_distance(first: Tensor, second: Tensor) -> Tensor:
    # Its gradient is 0, not NaN, at distance 0.
    distance = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    return distance / math.sqrt(first.shape[-1])


class Likelihood(Cost):
    """Negative log-likelihood of ``z'``, in nats per latent dimension (one-hot latents: per variable).

    Strictly proper. A density is above 1 where the model is sure, so values may be negative. Where the loss also
    moves the encoder, latents that are easily told score well: prefer ``StopGradient`` as the target. Raises
    ``Unsuited`` for a transition without a density.
    """

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        base = base_of(distribution)
        if isinstance(base, OneHotCategorical):  # whose log_prob has no gradient to z'
            return CrossEntropy()(distribution, next_latent)
        parts = base.parts if isinstance(base, SideBySide) else (base,)
        try:
            # A point's is infinite, and without any gradient.
            if any(isinstance(base_of(part), Delta) for part in parts):
                raise NotImplementedError
            log_prob = distribution.log_prob(next_latent)
        except NotImplementedError as error:
            raise Unsuited(
                f"world_model.cost={type(self).__name__}: {type(base).__name__} has no likelihood to train on. "
                "Allowed: Normal (world_model=normal), mixtures of normals (true_mixture), one-hots (categorical, "
                "tabular)."
            ) from error
        return -log_prob / math.prod(distribution.event_shape)
