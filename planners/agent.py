"""The agent: a world model's encoder below, an actor and a critic on its latents above.

``pi = pi̅ ∘ phi``: the encoder ``phi`` belongs to the world model, the latent policy ``pi̅`` and the critic
``V̄`` are the *heads*. Which of the two moves is what tells the phases of an iteration apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from tensordict.nn import (
    InteractionType,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
)
from torch import Tensor, nn
from torch.distributions import Categorical

from world_models.contract import WorldModel
from world_models.precision import Mixed, widened

#: The parameter groups that a phase may train.
ROLES = ("encoder", "model", "heads")


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
        with self.arithmetic(latent.device):
            features = self.trunk(latent.reshape(-1, self.trunk.in_features)).relu_()
        features = widened(features)
        logits = self.actor(features).log_softmax(-1)
        return HeadsOutput(logits.reshape(*batch, -1), self.critic(features).reshape(batch))


class _Deployed(nn.Module):
    """What is observed to logits, value and, where it is carried on, the latent: ``heads ∘ phi`` as one module."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, *observed: Tensor) -> tuple[Tensor, ...]:
        latent = self.agent.world_model.encode(*observed)
        logits, value = self.agent.heads(latent)
        carried = () if self.agent.world_model.memory_spec is None else (latent,)
        return logits, value.unsqueeze(-1), *carried


class _Remembering(nn.Module):
    """Latent and action to the next step's memory; a module, so that its parameters travel with the policy."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.agent.world_model.remember(latent, action)


class Agent(nn.Module):
    """A world model and the heads that act on its latents.

    Args:
        world_model: any ``WorldModel``; planners use it only through its contract.
        hidden: width of the heads' dense layer.
    """

    def __init__(self, world_model: WorldModel, hidden: int = 512) -> None:
        super().__init__()
        self.world_model = world_model
        self.heads = Heads(world_model.latent_spec.shape, world_model.num_actions, hidden)

    def parameters_of(self, role: str) -> Iterator[nn.Parameter]:
        """The parameters of one role: ``encoder``, ``model`` (the rest of the world model) or ``heads``."""
        match role:
            case "encoder":
                return self.world_model.encoder_parameters()
            case "model":
                return self.world_model.model_parameters()
            case "heads":
                return self.heads.parameters()
        raise ValueError(f"{role!r} is no parameter group; allowed: {', '.join(ROLES)}")

    @torch.no_grad()
    def log_policy(self, experience: TensorDictBase) -> Tensor:
        """Log-probabilities ``[N * T, A]`` of the deployed policy ``pi̅ ∘ phi`` on experience ``[N, T]``."""
        return self.heads(self.world_model.latents(experience).flatten(0, 1)).logits

    def policy(self) -> ProbabilisticTensorDictSequential:
        """The deployed policy as a TorchRL actor: the world model's ``in_keys`` to ``action``, ``action_log_prob``,
        ``logits`` and ``state_value``, and for a recurrent model the next step's ``memory``. It shares the agent's
        parameters and obeys ``set_exploration_type``."""
        model = self.world_model
        recurrent = model.memory_spec is not None
        out_keys = ["logits", "state_value", *(["latent"] if recurrent else [])]
        modules: list[nn.Module] = [
            TensorDictModule(_Deployed(self), in_keys=list(model.in_keys), out_keys=out_keys),
            ProbabilisticTensorDictModule(
                in_keys=["logits"],
                out_keys=["action"],
                distribution_class=Categorical,
                distribution_kwargs={"validate_args": False},
                return_log_prob=True,
                log_prob_key="action_log_prob",
                default_interaction_type=InteractionType.RANDOM,
            ),
        ]
        if recurrent:
            modules.append(TensorDictModule(_Remembering(self), ["latent", "action"], [("next", "memory")]))
        return ProbabilisticTensorDictSequential(*modules)
