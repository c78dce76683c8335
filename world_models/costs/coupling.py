"""The independent-coupling cost ``E d(z', ẑ)`` for the L1 metric: an upper bound of the Wasserstein distance."""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal, OneHotCategorical
from torchrl.modules import Delta

from world_models.costs.cost import Cost, over_dimensions
from world_models.distributions import SideBySide, Vote


class Coupling(Cost):
    """The independent-coupling cost ``E |z' - ẑ|`` for the L1 metric, in closed form where there is one.

    An upper bound of W1, equal to it when ``P̄`` is deterministic; its minimizer, too, is the median.
    """

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        return over_dimensions(expected_deviation(distribution, next_latent), distribution)


def coupling_distance(distribution: Distribution, next_latent: Tensor) -> Tensor:
    """``E_{ẑ~P̄} ||z' - ẑ||_1``: ``[...]``, the sum over latent dimensions; an upper bound of W1.

    As the Euclidean norm is never larger, it bounds the Euclidean W1 too, which is the metric of the
    models' Lipschitz constants. Exact where a closed form exists, else an unbiased one-sample estimate.
    """
    return over_dimensions(expected_deviation(distribution, next_latent), distribution, "sum")


@singledispatch
def expected_deviation(distribution: Distribution, point: Tensor) -> Tensor:
    """``E |ẑ - point|`` of each dimension, ``[..., *event]``: by one sample unless registered below."""
    return (distribution.rsample() - point).abs()


@expected_deviation.register
def _(distribution: MixtureSameFamily, point: Tensor) -> Tensor:
    # Linear in the weights: no component need be chosen.
    dims, weights = len(distribution.event_shape), distribution.mixture_distribution.probs
    components = expected_deviation(distribution.component_distribution, point.unsqueeze(-1 - dims))
    return (weights.reshape(*weights.shape, *[1] * dims) * components).sum(-1 - dims)


@expected_deviation.register
def _(distribution: Independent, point: Tensor) -> Tensor:
    return expected_deviation(distribution.base_dist, point)


@expected_deviation.register
def _(distribution: Delta, point: Tensor) -> Tensor:
    return (distribution.mean - point).abs()


@expected_deviation.register
def _(distribution: Normal, point: Tensor) -> Tensor:
    # The folded normal: sigma (delta (2 Phi(delta) - 1) + 2 phi(delta)).
    delta = (point - distribution.loc) / distribution.scale
    density = torch.exp(-0.5 * delta.square()) / math.sqrt(2 * math.pi)
    return distribution.scale * (delta * torch.erf(delta / math.sqrt(2)) + 2 * density)


@expected_deviation.register
def _(distribution: OneHotCategorical, point: Tensor) -> Tensor:
    # A one-hot coordinate is 1 with probability p: E|ẑ - z'| = p (1 - z') + (1 - p) z', for z' in {0, 1}.
    probs = distribution.probs
    return probs * (1 - point) + (1 - probs) * point


@expected_deviation.register
def _(distribution: SideBySide, point: Tensor) -> Tensor:
    pairs = zip(distribution.parts, distribution.split(point), strict=True)
    return distribution.join([expected_deviation(part, piece) for part, piece in pairs])


@expected_deviation.register
def _(distribution: Vote, point: Tensor) -> Tensor:
    return torch.stack([expected_deviation(member, point) for member in distribution.members]).mean(0)
