"""Actor and critic: the latent policy ``pi̅(.|z)`` and its value ``V̄(z)``."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from world_models.precision import Mixed, widened


class HeadsOutput(NamedTuple):
    """Logits of ``pi̅(.|z)``, ``[..., A]``, normalized so that they are log-probabilities, and ``V̄(z)``, ``[...]``."""

    logits: Tensor
    value: Tensor


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of normalized logits ``[..., A]``, ``[...]``."""
    return -(logits.exp() * logits).sum(-1)


def log_prob_of(logits: Tensor, action: Tensor) -> Tensor:
    """Log-probability ``[...]`` of actions ``[...]`` under normalized logits ``[..., A]``."""
    return logits.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """Orthogonal weights, zero bias: the initialization of PPO's networks."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class Heads(Mixed):
    """Actor and critic on latents: one dense layer on the flattened latent, then one linear layer each.

    Args:
        latent_shape: shape of one latent.
        num_actions: number of discrete actions, A.
        hidden: width of the dense layer that actor and critic share.
    """

    def __init__(self, latent_shape: torch.Size, num_actions: int, hidden: int) -> None:
        super().__init__()
        self.latent_dims = len(latent_shape)
        self.trunk = orthogonal(nn.Linear(math.prod(latent_shape), hidden), math.sqrt(2))
        self.actor = orthogonal(nn.Linear(hidden, num_actions), 0.01)
        self.critic = orthogonal(nn.Linear(hidden, 1), 1.0)

    def forward(self, latent: Tensor) -> HeadsOutput:
        """Latents ``[..., *latent_shape]`` to log-probabilities ``[..., A]`` and values ``[...]``."""
        # Folded: a dense layer on a batch of several axes that is not contiguous costs five times as much.
        batch = latent.shape[: latent.ndim - self.latent_dims]
        for_actor, for_critic = self.features(latent.reshape(-1, self.trunk.in_features))
        logits = self.actor(for_actor).log_softmax(-1)
        return HeadsOutput(logits.reshape(*batch, logits.shape[-1]), self.critic(for_critic).reshape(batch))

    def take_back(self, before: Heads) -> None:
        """Makes the policy that of ``before`` again, and the critic too, as they share a layer."""
        self.load_state_dict(before.state_dict())

    def features(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Of flat latents ``[B, latent]``: what the actor and what the critic reads, each ``[B, hidden]``."""
        features = self._through(self.trunk, latent)
        return features, features

    def _through(self, trunk: nn.Module, latent: Tensor) -> Tensor:
        with self.arithmetic(latent.device):
            features = trunk(latent).relu_()
        return widened(features)


class SeparateHeads(Heads):
    """Actor and critic with a dense layer each. What is left between them is the encoder, and the joint clipping of
    their gradients where one optimizer trains both."""

    def __init__(self, latent_shape: torch.Size, num_actions: int, hidden: int) -> None:
        super().__init__(latent_shape, num_actions, hidden)
        self.critic_trunk = orthogonal(nn.Linear(math.prod(latent_shape), hidden), math.sqrt(2))

    def take_back(self, before: Heads) -> None:
        """Makes the policy that of ``before`` again; the critic keeps what it has learnt since."""
        self.trunk.load_state_dict(before.trunk.state_dict())
        self.actor.load_state_dict(before.actor.state_dict())

    def features(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See the base class."""
        return self._through(self.trunk, latent), self._through(self.critic_trunk, latent)
