"""Ground phases of the linear model, and the batch that they learn from."""

from __future__ import annotations

from tensordict import TensorDict

from planners.agent import Agent
from planners.experience import add_advantages
from planners.ground import Ground
from planners.guards import build_neighborhood
from planners.optimization import Adam
from planners.utility import Utility
from planners.value_scale import Reward
from tests.planners.linear_model import experience

CLIP = build_neighborhood("clip", 1.1, 1.0)


def with_advantages(agent: Agent, **shape: int) -> TensorDict:
    """Experience as a ground phase reads it."""
    return add_advantages(experience(agent, **shape), agent.value, 0.9, 0.9)


def make(agent: Agent, utility: Utility, roles: tuple[str, ...], kind: type[Ground] = Ground, **keys: object) -> Ground:
    """A phase on batches ``[4, 8]``, with one optimizer of these roles; ``keys`` replace its settings."""
    settings: dict = {
        "epochs": 2,
        "minibatches": 2,
        "segment": 4,
        "value": 0.5,
        "entropy": 0.01,
        "rehearsal": None,
        "clone": 0.0,
        "share": 1.0,
    } | keys
    shared = {"agent": agent, "batch_shape": (4, 8), "neighborhood": CLIP, "value_scale": Reward()}
    shared |= {"gamma": 0.9, "lmbda": 0.8}
    return kind(**shared, utility=utility, optimizers={"only": Adam(roles=roles, lr=1e-2)}, **settings)
