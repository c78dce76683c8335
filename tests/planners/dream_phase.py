"""Dreams of the linear model, where they start, and what they read of a batch."""

from __future__ import annotations

import copy

import torch
from tensordict import TensorDict
from torch import Tensor

from planners.agent import Agent
from planners.dream import Behavior, Dream
from planners.optimization import Adam
from planners.schedules import Schedule
from planners.trust import Full
from planners.value_scale import Reward
from tests.planners.ground_phase import CLIP
from tests.planners.linear_model import LinearModel
from world_models.contract import ImaginedStep


class Doubtful(LinearModel):
    """Doubts a step by as much as its first latent dimension is away from zero."""

    def imagine(self, latent: Tensor, action: Tensor) -> ImaginedStep:
        return super().imagine(latent, action)._replace(uncertainty=latent[..., 0].abs().detach())

    tells_uncertainty = True


def make(agent: Agent, **keys: object) -> Dream:
    """A phase on batches ``[4, 8]``; ``keys`` replace its settings."""
    settings: dict = {
        "horizon": 4,
        "ends": "sampled",
        "repeats": 2,
        "epochs": 1,
        "minibatches": 4,
        "bound": "behavior",
        "pessimism": 0.0,
        "trust": Full(),
        "veto": False,
        "beta": Schedule(final=1.0),
        "value": 0.5,
        "real_value": 0.5,
        "entropy": 0.01,
        "optimizers": {"heads": Adam(roles=("heads",), lr=1e-2)},
    } | keys
    return Dream(agent, (4, 8), CLIP, Reward(), 0.9, 0.95, **settings)


def starts(agent: Agent, count: int = 32) -> Tensor:
    """Latents of observations, the same for every call."""
    torch.manual_seed(7)
    with torch.no_grad():
        return agent.world_model.encode(torch.randn(count, 3))


def lived(target: float = 0.0) -> TensorDict:
    """What dreams read of a batch ``[4, 8]``, every lambda-return ``target``."""
    after = {"reward": torch.zeros(4, 8, 1), "terminated": torch.zeros(4, 8, 1, dtype=torch.bool)}
    here = {"action": torch.zeros(4, 8, dtype=torch.long), "value_target": torch.full((4, 8, 1), target)}
    return TensorDict(here | {"advantage": torch.zeros(4, 8, 1), "next": after}, (4, 8))


def run(dream: Dream, agent: Agent, target: float = 0.0, progress: float = 0.0) -> dict[str, float]:
    """The phase on ``starts`` and ``lived``, after a batch that the agent's own policy has gathered."""
    start = starts(agent)
    behavior = Behavior(copy.deepcopy(agent.heads), agent.heads(start).logits.detach())
    return dream.run(start, lived(target), behavior, progress)
