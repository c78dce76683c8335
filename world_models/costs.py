"""Costs of a predicted next latent against ``z' = phi(s')``: what a transition model is trained on.

Scale: every cost is a *mean* over latent dimensions (categorical: over variables), so one ``alpha_P`` means
the same for every model and latent size. ``SmoothL1(reduction="sum")`` is the paper's convention: the same
times the number of latent dimensions.

A cost is called as ``cost(distribution, next_latent)`` with batch shape ``[...]`` and event shape
``latent_shape``, and returns ``[...]``. It carries gradient to both arguments.

Training costs bound nothing by themselves (smooth-L1 is smaller than the distance below 1);
``coupling_distance`` is the true metric.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, OneHotCategorical
from torchrl.modules import Delta

from world_models.distributions import TruncatedNormal, expected_noise_distance


class Cost(Protocol):
    """What a transition model takes as its cost."""

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        ...


def over_dimensions(per_dimension: Tensor, distribution: Distribution, reduction: str = "mean") -> Tensor:
    """Reduces the event axes ``[..., *event]`` to ``[...]`` by ``mean`` or ``sum``."""
    flat = per_dimension.flatten(-len(distribution.event_shape))
    return flat.mean(-1) if reduction == "mean" else flat.sum(-1)


def over_variables(per_variable: Tensor, distribution: Distribution) -> Tensor:
    """Mean over one-hot variables: ``[..., *variables]`` to ``[...]``; a latent of one variable has no such axis."""
    axes = len(distribution.event_shape) - 1
    return per_variable.flatten(-axes).mean(-1) if axes else per_variable


class SmoothL1:
    """The paper's: smooth-L1 between ``z'`` and one reparameterized sample.

    Its minimizer is the median point, not the distribution: a model so trained forgets that the world is
    random.

    Args:
        reduction: ``mean`` over latent dimensions, or ``sum`` (the paper's, except for ``deterministic``).
    """

    def __init__(self, reduction: Literal["mean", "sum"] = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"world_model.cost.reduction={reduction}: Allowed: mean, sum.")
        self.reduction = reduction

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        cost = F.smooth_l1_loss(distribution.rsample(), next_latent, reduction="none")
        return over_dimensions(cost, distribution, self.reduction)


class Coupling:
    """The independent-coupling cost ``E |z' - ẑ|`` for the L1 metric, in closed form where there is one.

    An upper bound of W1, equal to it when ``P̄`` is deterministic; its minimizer, too, is the median.
    """

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        return over_dimensions(expected_deviation(distribution, next_latent), distribution)


class EnergyScore:
    """``2 E d(z', ẑ) - E d(ẑ, ẑ')`` from independent model samples, d the Euclidean distance over the square
    root of the number of dimensions.

    Strictly proper (Gneiting & Raftery 2007): least, in expectation, for the true distribution alone. The
    values may be negative only through sampling; ``E d(z', z'')`` of the world itself is the least mean.

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
        samples = distribution.rsample(torch.Size((self.samples,))).flatten(-dims)
        to_world = _rms_distance(samples, next_latent.flatten(-dims)).mean(0)
        among = _rms_distance(samples, samples.roll(1, 0)).mean(0)
        return 2 * to_world - among


def _rms_distance(first: Tensor, second: Tensor) -> Tensor:
    # The small constant keeps the gradient of the root finite at distance 0.
    return ((first - second).square().mean(-1) + 1e-8).sqrt()


class CrossEntropy:
    """Cross-entropy of one-hot latents, aimed at ``z'``, mean over the variables; in nats."""

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        return over_variables(-(next_latent * one_hot_of(distribution).logits).sum(-1), distribution)


class Hamming:
    """Expected share of one-hot variables that differ from those of ``z'``, in [0, 1]."""

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        return over_variables(1 - (next_latent * one_hot_of(distribution).probs).sum(-1), distribution)


def one_hot_of(distribution: Distribution) -> OneHotCategorical:
    """The one-hot variables inside ``Independent``; anything else has no such cost."""
    base = distribution.base_dist if isinstance(distribution, Independent) else distribution
    if not isinstance(base, OneHotCategorical):
        raise ValueError(
            f"world_model.cost: for one-hot latents (world_model=categorical or tabular), not {type(base).__name__}. "
            "Allowed here: SmoothL1, Coupling, EnergyScore."
        )
    return base


# ---------------------------------------------------------------------- true distances


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
def _(distribution: TruncatedNormal, point: Tensor) -> Tensor:
    return distribution.scale * expected_noise_distance((point - distribution.loc) / distribution.scale)


@expected_deviation.register
def _(distribution: OneHotCategorical, point: Tensor) -> Tensor:
    # A one-hot coordinate is 1 with probability p: E|ẑ - z'| = p (1 - z') + (1 - p) z', for z' in {0, 1}.
    probs = distribution.probs
    return probs * (1 - point) + (1 - probs) * point
