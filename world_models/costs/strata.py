"""Samples that carry gradient to all parameters, of mixtures too."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from world_models.names import Unsuited


class Strata(NamedTuple):
    """One sample of each of K components, ``[..., K, *event]``, and their weights ``[..., K]``, which sum to 1.

    ``sum_k weight_k f(sample_k)`` is an unbiased estimate of ``E f``.
    """

    samples: Tensor
    weights: Tensor


@singledispatch
def stratified(distribution: Distribution) -> Strata:
    """One reparameterized sample of each component; a distribution that is no mixture has one component.

    Which component a mixture's sample is from has no gradient; the weights of its strata have. Raises ``Unsuited``
    for what can't be sampled with gradient.
    """
    try:
        samples = distribution.rsample()
    except NotImplementedError as error:
        raise Unsuited(
            f"world_model.cost: {type(distribution).__name__} has no reparameterized samples. Allowed here: Likelihood."
        ) from error
    axis = len(distribution.batch_shape)
    return Strata(samples.unsqueeze(axis), samples.new_ones(*distribution.batch_shape, 1))


@stratified.register
def _(distribution: MixtureSameFamily) -> Strata:
    return Strata(distribution.component_distribution.rsample(), distribution.mixture_distribution.probs)


def draw(distribution: Distribution) -> Tensor:
    """A reparameterized sample ``[..., *event]``; of a mixture the weighted mean of its strata, which moves in ``z``
    as locations, scales and weights do."""
    samples, weights = stratified(distribution)
    return (weights.reshape(*weights.shape, *[1] * len(distribution.event_shape)) * samples).sum(weights.ndim - 1)
