"""What every cost is, and how its terms become one number per transition."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent


class Cost:
    """What a transition model is trained on.

    Called as ``cost(distribution, next_latent)`` with batch shape ``[...]`` and event shape ``latent_shape``; it
    returns ``[...]`` and carries gradient to both arguments. A model calls ``of_transition``: a cost that asks for
    more than the distribution overrides that, and ``build``.
    """

    def build(self, latent_shape: Sequence[int], num_actions: int) -> None:
        """Called once, by the model that the cost is for; one with networks builds them here."""

    def of_transition(self, latent: Tensor, action: Tensor, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]`` of ``P̄(. | z, a)`` against ``z'``."""
        del latent, action
        return self(distribution, next_latent)

    def __call__(self, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition cost ``[...]``."""
        raise NotImplementedError


def base_of(distribution: Distribution) -> Distribution:
    """The distribution inside ``Independent``, or itself."""
    return distribution.base_dist if isinstance(distribution, Independent) else distribution


def over_dimensions(per_dimension: Tensor, distribution: Distribution, reduction: str = "mean") -> Tensor:
    """Reduces the event axes ``[..., *event]`` to ``[...]`` by ``mean`` or ``sum``."""
    flat = per_dimension.flatten(-len(distribution.event_shape))
    return flat.mean(-1) if reduction == "mean" else flat.sum(-1)


def over_variables(per_variable: Tensor, distribution: Distribution) -> Tensor:
    """Mean over one-hot variables: ``[..., *variables]`` to ``[...]``; a latent of one variable has no such axis."""
    axes = len(distribution.event_shape) - 1
    return per_variable.flatten(-axes).mean(-1) if axes else per_variable
