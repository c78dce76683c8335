"""What the latent models have in common: encoder, reward and termination heads, target and cost.

A model adds its transition distribution, and sets ``latent_spec``, ``network`` and, where the construction
guarantees it, ``transition_lipschitz``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributions import Distribution
from torchrl.data import TensorSpec, Unbounded

from world_models.contract import WorldModel
from world_models.costs import Cost, SmoothL1, draw
from world_models.encoders import Choice, build_encoder
from world_models.heads import BernoulliTermination, RewardHead, TerminationHead, TwoHotReward
from world_models.penalties import GradientPenalty, Penalty
from world_models.spread import Variance
from world_models.targets import StopGradient, Target
from world_models.transition import Network

#: Called as ``part(latent_shape, num_actions)``, or ``target(encoder)``; in YAML a ``_partial_``.
Part = Callable[..., Any]


class LatentModel(WorldModel):
    """A world model assembled from parts.

    Args:
        observation_spec: spec of one observation, without batch dimensions.
        num_actions: size of the discrete action set.
        encoder: name of the encoder, or what builds it (``encoders.build_encoder``).
        network: builds the transition network from the latent shape.
        reward: reward head, built as ``reward(latent_shape, num_actions)``.
        termination: termination head, built likewise.
        target: choice of target for ``phi(s')``, built as ``target(encoder)``.
        cost: transition cost (``costs``).
        penalty: gradient penalty on transition and reward in training; none by default.
        spread: what holds latents of different states apart; nothing by default.
    """

    network: Network
    reward_head: RewardHead
    termination_head: TerminationHead
    target_choice: Target

    def __init__(
        self,
        observation_spec: TensorSpec,
        num_actions: int,
        network: Callable[[Sequence[int]], Network],
        encoder: Choice = "auto",
        reward: Part = TwoHotReward,
        termination: Part = BernoulliTermination,
        target: Part = StopGradient,
        cost: Cost | None = None,
        penalty: Penalty | None = None,
        spread: Variance | None = None,
    ) -> None:
        super().__init__(observation_spec, num_actions)
        self.encoder = self.build_encoder(encoder)
        shape = self.latent_spec.shape
        self.network = network(shape)
        self.reward_head = reward(shape, num_actions)
        self.termination_head = termination(shape, num_actions)
        self.target_choice = target(self.encoder)
        self.target_has_gradient = self.target_choice.has_gradient
        self.cost: Cost = copy.deepcopy(cost) or SmoothL1()  # several models may be built from one, and it may learn
        self.cost.build(shape, num_actions)
        self.penalty = penalty or GradientPenalty(0.0)
        self.spread = spread or Variance(0.0)
        self.reward_lipschitz = self.reward_head.lipschitz

    def build_encoder(self, name: Choice) -> nn.Module:
        """Builds ``phi`` and sets ``latent_spec``."""
        encoder = build_encoder(name, self.observation_spec)
        self.latent_spec = Unbounded(encoder.latent_shape, dtype=torch.float32)
        return encoder

    def encode(self, observation: Tensor) -> Tensor:
        """``z = phi(s)``, ``[..., *latent_shape]``."""
        return self.encoder(observation)

    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        """``R̄(z, a)``, ``[...]``."""
        return self.reward_head(latent, action)

    def termination(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """``D̄(z, a, z')``, ``[...]``, in [0, 1]."""
        return self.termination_head(latent, action, next_latent)

    def local_losses(
        self, latent: Tensor, action: Tensor, reward: Tensor, next_latent: Tensor, terminated: Tensor
    ) -> TensorDict:
        """Per-transition training losses, each ``[...]``; scales as in ``costs`` and ``heads.py``."""
        losses = {
            "transition": self.cost.of_transition(latent, action, self.transition(latent, action), next_latent),
            "reward": self.reward_head.loss(latent, action, reward),
            "termination": self.termination_head.loss(latent, action, next_latent, terminated),
        }
        if torch.is_grad_enabled() and self.penalty.weight > 0:
            slopes = {
                "transition": lambda z: draw(self.transition(z, action)),
                "reward": lambda z: self.reward(z, action),
            }
            for key, function in slopes.items():
                losses[key] = losses[key] + self.penalty(function, latent, len(self.latent_spec.shape))
        return TensorDict(losses, batch_size=action.shape)

    def target(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """The target for ``phi(s')``, ``[..., *latent_shape]``, as the chosen ``target`` has it."""
        return self.target_choice(next_latent, next_observation)

    def representation_loss(self, latent: Tensor, observation: Tensor) -> Tensor:
        """What ``spread`` asks of the batch's latents, ``[...]``."""
        del observation
        return self.spread(latent, len(self.latent_spec.shape))

    def after_update(self) -> None:
        """Lets the target follow the encoder."""
        self.target_choice.after_update(self.encoder)


def event(distribution: Distribution, latent_dims: int) -> Distribution:
    """Declares the last ``latent_dims`` axes of an elementwise distribution one event."""
    return torch.distributions.Independent(distribution, latent_dims, validate_args=False)
