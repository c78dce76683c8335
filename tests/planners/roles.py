"""Which roles of an agent have learnt."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from planners.agent import ROLES, Agent


def snapshot(agent: Agent) -> dict[str, Tensor]:
    """The parameters of now, by name."""
    return copy.deepcopy(dict(agent.named_parameters()))


def moved(agent: Agent, before: dict[str, Tensor]) -> set[str]:
    """The roles of which any parameter changed."""
    names = {id(p): name for name, p in agent.named_parameters()}
    changed = {name for name, p in agent.named_parameters() if not torch.equal(p, before[name])}
    return {role for role in ROLES if any(names[id(p)] in changed for p in agent.parameters_of(role))}
