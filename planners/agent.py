"""The agent: a world model's encoder below, an actor and a critic on its latents above.

``pi = pi̅ ∘ phi``: the encoder ``phi`` belongs to the world model, the latent policy ``pi̅`` and the critic
``V̄`` are the *heads*. Which of the two moves is what tells the phases of an iteration apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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

from planners.heads import Heads
from world_models.contract import WorldModel

#: The parameter groups that a phase may train.
ROLES = ("encoder", "model", "heads")


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
        heads: builds them from the latents' shape, the number of actions and that width.
    """

    def __init__(
        self, world_model: WorldModel, hidden: int = 512, heads: Callable[[torch.Size, int, int], Heads] = Heads
    ) -> None:
        super().__init__()
        self.world_model = world_model
        self.heads = heads(world_model.latent_spec.shape, world_model.num_actions, hidden)

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

    @torch.no_grad()
    def value(self, states: TensorDictBase) -> Tensor:
        """``V̄ ∘ phi``: values ``[...]`` of states ``[...]``, each with what the world model's encoder takes."""
        return self.heads(self.world_model.encode(*(states[key] for key in self.world_model.in_keys))).value

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
