"""A learned discrepancy in place of the coupling bound: the largest difference that a discriminator f can find
between ``phi(s')`` and the model's own samples, given ``(z, a)``.

By duality the supremum over 1-Lipschitz f is the Wasserstein distance (Arjovsky et al. 2017), that over f in [0, 1]
the total variation. What any one f finds is *below* it, where the coupling cost is above: it certifies nothing, but
its least value is reached at the true distribution, not at the median. As with any adversary, what it teaches is
noisy and slow beside a closed form; by default no model has it. For one that samples (``normal``, ``true_mixture``):
``world_model.cost._target_=world_models.discrepancy.Wasserstein``; for one-hots ``TotalVariation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from world_models.costs import Cost, Strata, one_hot_of, stratified
from world_models.lipschitz import GroupSort2, LipschitzLinear
from world_models.transition import Trunk


class Discriminator(nn.Module):
    """``f(z, a, z')``: two hidden layers on ``z'``, shifted by what a dense network makes of ``(z, a)``.

    Args:
        latent_shape, num_actions: sizes.
        hidden: width of all hidden layers.
        layer, activation: of the layers on ``z'``; 1-Lipschitz ones make f 1-Lipschitz in ``z'``.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_actions: int,
        hidden: int,
        layer: type[LipschitzLinear] | type[nn.Linear],
        activation: nn.Module,
    ) -> None:
        super().__init__()
        self.features = math.prod(latent_shape)
        context = [nn.Linear(self.features, hidden), nn.Linear(hidden, hidden)]
        self.context = Trunk(context, nn.SiLU(), num_actions, hidden)
        self.shifts = nn.Linear(hidden, 2 * hidden)
        self.layers = nn.ModuleList([layer(self.features, hidden), layer(hidden, hidden)])
        self.output = layer(hidden, 1)
        self.activation = activation

    def forward(self, latent: Tensor, action: Tensor, points: Tensor) -> Tensor:
        """Values ``[..., K]`` of K points ``[..., K, *latent_shape]`` for each latent ``[..., *latent_shape]``."""
        context = self.context(latent.reshape(-1, self.features), action.reshape(-1))
        features = points.reshape(len(context), -1, self.features)
        for layer, shift in zip(self.layers, self.shifts(context).chunk(2, -1), strict=True):
            features = self.activation(layer(features) + shift.unsqueeze(1))
        return self.output(features).reshape(*action.shape, -1)


class Discrepancy(nn.Module, Cost):
    """A cost with a discriminator that it trains by itself; planners and their optimizers know nothing of it.

    Called with gradient in training it first ascends ``updates`` times on the given transitions, all detached, and
    then returns ``f(z, a, phi(s')) - E f(z, a, ẑ)`` with f frozen. No gradient passes through f's ``(z, a)``: at the
    best f there is none on average (envelope theorem).

    Args:
        updates: ascents for each call in training: the update ratio.
        lr: learning rate of the discriminator's Adam, whose moments are part of the state dict.
        hidden: width of the discriminator's hidden layers, even.
    """

    discriminator: Discriminator
    optimizer: torch.optim.Adam

    def __init__(self, updates: int = 5, lr: float = 1e-3, hidden: int = 64) -> None:
        super().__init__()
        if updates < 1 or lr <= 0 or hidden < 2 or hidden % 2:
            raise ValueError(
                f"world_model.cost.updates={updates}, world_model.cost.lr={lr}, world_model.cost.hidden={hidden}: at "
                "least 1, above 0, even and at least 2; e.g. 5, 0.001, 64."
            )
        self.updates, self.lr, self.hidden = updates, lr, hidden

    def make(self, latent_shape: Sequence[int], num_actions: int) -> Discriminator:
        """The discriminator of this discrepancy."""
        raise NotImplementedError

    def value(self, output: Tensor) -> Tensor:
        """``f`` from the discriminator's output."""
        raise NotImplementedError

    def difference(self, output: Tensor, weights: Tensor) -> Tensor:
        """``f`` at the first point less its mean over the K others: outputs ``[..., 1 + K]`` to ``[...]``."""
        value = self.value(output)
        return value[..., 0] - (weights * value[..., 1:]).sum(-1)

    def objective(self, output: Tensor, weights: Tensor) -> Tensor:
        """What the discriminator ascends on, ``[...]``."""
        return self.difference(output, weights)

    def build(self, latent_shape: Sequence[int], num_actions: int) -> None:
        """Builds discriminator and optimizer."""
        self.discriminator = self.make(latent_shape, num_actions).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=self.lr, betas=(0.5, 0.9))

    def of_transition(self, latent: Tensor, action: Tensor, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition difference ``[...]``; see the class."""
        latent = latent.detach()
        if self.training and torch.is_grad_enabled():
            self._ascend(latent, action, distribution, next_latent.detach())
        # A copy: the next ascent may come before the backward pass through this value.
        frozen = {name: parameter.clone() for name, parameter in self.discriminator.named_parameters()}
        strata = stratified(distribution)
        output = functional_call(self.discriminator, frozen, (latent, action, _points(strata, next_latent)))
        return self.difference(output, strata.weights)

    @torch.compiler.disable  # a loss that takes steps of its own is none to differentiate
    def _ascend(self, latent: Tensor, action: Tensor, distribution: Distribution, next_latent: Tensor) -> None:
        self.discriminator.requires_grad_(True)
        for _ in range(self.updates):
            strata = Strata(*(tensor.detach() for tensor in stratified(distribution)))
            output = self.discriminator(latent, action, _points(strata, next_latent))
            self.optimizer.zero_grad()
            (-self.objective(output, strata.weights).mean()).backward()
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.discriminator.requires_grad_(False)

    def get_extra_state(self) -> dict[str, Any]:
        """Adam's moments: tensors, numbers and plain containers."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores ``get_extra_state``."""
        self.optimizer.load_state_dict(state)


def _points(strata: Strata, next_latent: Tensor) -> Tensor:
    """``z'`` and then the model's samples, ``[..., 1 + K, *latent_shape]``."""
    axis = strata.weights.ndim - 1
    return torch.cat((next_latent.unsqueeze(axis), strata.samples), axis)


class Wasserstein(Discrepancy):
    """Learned W1 for the Euclidean distance over the square root of the number of dimensions, as ``EnergyScore``'s:
    f is exactly 1-Lipschitz in ``z'``, by construction."""

    def make(self, latent_shape: Sequence[int], num_actions: int) -> Discriminator:
        """A 1-Lipschitz discriminator."""
        return Discriminator(latent_shape, num_actions, self.hidden, LipschitzLinear, GroupSort2())

    def value(self, output: Tensor) -> Tensor:
        """``f`` in the unit of the distance."""
        return output / math.sqrt(self.discriminator.features)


class TotalVariation(Discrepancy):
    """Learned total variation of whole one-hot latents (all variables at once), in [0, 1]: f is a probability.

    Between continuous latents it is always 1: hence one-hots only.
    """

    def make(self, latent_shape: Sequence[int], num_actions: int) -> Discriminator:
        """An unrestricted discriminator; ``value`` bounds it."""
        return Discriminator(latent_shape, num_actions, self.hidden, nn.Linear, nn.SiLU())

    def value(self, output: Tensor) -> Tensor:
        """``f`` in [0, 1]."""
        return output.sigmoid()

    def objective(self, output: Tensor, weights: Tensor) -> Tensor:
        """The difference and a hundredth of the log-likelihood of telling the two apart, ``[...]``: without that, f may
        become 0 (or 1) everywhere, where the sigmoid is flat and nothing calls it back."""
        fake = (weights * F.logsigmoid(-output[..., 1:])).sum(-1)
        return super().objective(output, weights) + 0.01 * (F.logsigmoid(output[..., 0]) + fake)

    def of_transition(self, latent: Tensor, action: Tensor, distribution: Distribution, next_latent: Tensor) -> Tensor:
        """Per-transition difference ``[...]``; see the class."""
        one_hot_of(distribution, self)
        return super().of_transition(latent, action, distribution, next_latent)
