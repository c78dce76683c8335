"""Costs of one-hot latents. Each is linear in ``z'``, so its straight-through gradient is that of an expectation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical

from world_models.costs.cost import Cost, base_of, over_variables
from world_models.names import Unsuited


class CrossEntropy(Cost):
    """Cross-entropy of one-hot latents, aimed at ``z'``, mean over the variables; in nats."""

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        return over_variables(-(next_latent * one_hot_of(distribution, self).logits).sum(-1), distribution)


class Hamming(Cost):
    """Expected share of one-hot variables that differ from those of ``z'``, in [0, 1]."""

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        return over_variables(1 - (next_latent * one_hot_of(distribution, self).probs).sum(-1), distribution)


class JensenShannon(Cost):
    """Jensen–Shannon divergence between ``P̄`` and ``z'``, mean over the variables; in nats, in [0, ln 2].

    Against a one-hot only the probability q of its class counts: ``ln 2 + (q ln q - (1 + q) ln(1 + q)) / 2``.
    Bounded, unlike the cross-entropy: where the model is surest of the wrong class its gradient is least.
    """

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        one_hot = one_hot_of(distribution, self)
        # q ln q from the logits: the logarithm of a probability that rounds to 0 would have no finite gradient.
        probs, logits = one_hot.logits.exp(), one_hot.logits
        of_class = math.log(2) + 0.5 * (probs * logits - (1 + probs) * torch.log1p(probs))
        return over_variables((next_latent * of_class).sum(-1), distribution)


def one_hot_of(distribution: Distribution, cost: Cost) -> OneHotCategorical:
    """The one-hot variables inside ``Independent``. Raises ``Unsuited`` for anything else, which has no such cost."""
    base = base_of(distribution)
    if not isinstance(base, OneHotCategorical):
        raise Unsuited(
            f"world_model.cost={type(cost).__name__}: for one-hot latents (world_model=categorical or "
            f"tabular), not {type(base).__name__}. Allowed here: SmoothL1, Squared, Coupling, EnergyScore, and for a "
            "density Likelihood."
        )
    return base
