"""A true mixture of K diagonal normals: each transition is drawn from *one* of them, so it can be "here or there"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal
from torchrl.data import TensorSpec

from world_models.base import LatentModel, Part, event
from world_models.costs import Cost, EnergyScore
from world_models.names import at_least
from world_models.transition import MIN_SCALE, PlainNetwork, Trunk


class DenseWeights(nn.Module):
    """Logits of the components from ``(z, a)``: two hidden layers.

    Args:
        latent_shape, num_actions, components: sizes.
        hidden: width of the hidden layers.
    """

    #: Whether the weights do not move with ``z``.
    constant = False

    def __init__(self, latent_shape: Sequence[int], num_actions: int, components: int, hidden: int = 64) -> None:
        super().__init__()
        at_least("world_model.weights.hidden", hidden, 1)
        self.event_dims = len(latent_shape)
        layers = [nn.Linear(math.prod(latent_shape), hidden), nn.Linear(hidden, hidden)]
        self.trunk = Trunk(layers, nn.SiLU(), num_actions, hidden)
        self.output = nn.Linear(hidden, components)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Logits ``[..., K]``."""
        flat = latent.reshape(-1, *latent.shape[-self.event_dims :]).flatten(1)
        return self.output(self.trunk(flat, action.reshape(-1))).reshape(*action.shape, -1)


class ActionWeights(nn.Module):
    """Logits of the components from the action alone, as in the soft mixture: they cost no Lipschitz constant."""

    constant = True

    def __init__(self, latent_shape: Sequence[int], num_actions: int, components: int) -> None:
        super().__init__()
        del latent_shape
        self.logits = nn.Parameter(torch.zeros(num_actions, components))

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Logits ``[..., K]``."""
        del latent
        return self.logits[action]


class TrueMixtureModel(LatentModel):
    """``z' ~ sum_k w_k(z, a) N(mean_k(z, a), diag scale_k(z, a)^2)`` (a mixture density network, Bishop 1994).

    One component is drawn for the whole latent, not one for each dimension: dimensions are dependent, as in a world
    that is in one of two places. The soft mixture (``MixtureModel``) averages components and can't say that.

    The transition is 1-Lipschitz in ``z`` (in W1) if the network is and the weights do not move with ``z``:
    coupling equal components moves the mixture by no more than the farthest of them.

    Args:
        network: ``PlainNetwork`` or a Lipschitz one.
        components: K.
        weights: ``DenseWeights`` or ``ActionWeights``, built as ``weights(latent_shape, num_actions, components)``.
        cost: a strictly proper one keeps the odds. Further arguments: ``LatentModel``.
    """

    def __init__(
        self,
        observation_spec: TensorSpec,
        num_actions: int,
        network: Part = PlainNetwork,
        components: int = 5,
        weights: Part = DenseWeights,
        cost: Cost | None = None,
        **parts: Any,
    ) -> None:
        if components < 1:
            raise ValueError(f"world_model.components={components}: must be at least 1, e.g. 5.")
        super().__init__(
            observation_spec,
            num_actions,
            lambda shape: network(shape, num_actions, components, True),
            cost=cost or EnergyScore(),
            **parts,
        )
        self.weights = weights(self.latent_spec.shape, num_actions, components)
        self.transition_lipschitz = self.network.lipschitz if self.weights.constant else None

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """The mixture; ``sample`` draws one component for each transition."""
        location, scale = self.network(latent, action)
        assert scale is not None
        # A Lipschitz network's scale may be 0, where a density has no logarithm; a constant more moves nothing.
        normal = Normal(location, scale + MIN_SCALE, validate_args=False)
        return MixtureSameFamily(
            Categorical(logits=self.weights(latent, action), validate_args=False),
            event(normal, len(self.latent_spec.shape)),
            validate_args=False,
        )
