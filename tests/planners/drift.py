"""A world whose every number is known, and a model that is wrong about it by as much as one likes.

The state is a point of the plane, and the latent is the state. An action moves it by (1, 0) or (0, 1); a step pays
``x + 2 y`` of the point where it starts; the critic says ``3 x`` (real values are no matter here).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torchrl.data import Unbounded
from torchrl.modules import Delta

from planners.heads import HeadsOutput
from world_models.base import event
from world_models.contract import WorldModel

MOVES = torch.eye(2)
PAYS = torch.tensor([1.0, 2.0])


class Drift(WorldModel):
    """Goes astray by ``error`` and ``noise`` (a standard deviation) at each step, and expects ends with ``ends``."""

    def __init__(self, error: tuple[float, float] = (0.0, 0.0), ends: float = 0.0, noise: float = 0.0) -> None:
        super().__init__(Unbounded(2), 2)
        self.latent_spec, self.encoder = Unbounded(2), nn.Identity()
        self.error, self.ends, self.noise = torch.tensor(error), ends, noise

    def encode(self, observation: Tensor) -> Tensor:
        return observation

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        mean = latent + MOVES[action] + self.error
        return Independent(Normal(mean, self.noise), 1) if self.noise else event(Delta(mean), 1)

    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        return latent @ PAYS

    def termination(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        return torch.full(action.shape, self.ends)

    def local_losses(self, *args: Tensor) -> TensorDict:
        raise NotImplementedError

    def local_distances(self, *args: Tensor) -> TensorDict:
        raise NotImplementedError


def agent(**wrong: Any) -> Any:
    """What an agent is to an open-loop dream."""
    return SimpleNamespace(
        world_model=Drift(**wrong), heads=lambda z: HeadsOutput(torch.zeros(*z.shape[:-1], 2), 3.0 * z[..., 0])
    )


def sequences(rows: int = 6, steps: int = 9, terminated: Tensor | None = None, truncated: Tensor | None = None) -> Any:
    """Random walks ``[S, L]``, and their beliefs; after an end, of either kind ``[S, L]``, a walk begins elsewhere."""
    torch.manual_seed(0)
    never = torch.zeros(rows, steps, dtype=torch.bool)
    terminated = never if terminated is None else terminated
    truncated = never if truncated is None else truncated
    done = terminated | truncated
    action = torch.randint(2, (rows, steps))
    before, after, place = [], [], torch.randint(9, (rows, 2)).float()
    for t in range(steps):
        before.append(place)
        after.append(place + MOVES[action[:, t]])
        place = torch.where(done[:, t, None], torch.randint(9, (rows, 2)).float(), after[-1])
    observation, successor = torch.stack(before, 1), torch.stack(after, 1)
    ends = {"terminated": terminated, "truncated": truncated, "done": done}
    following = {key: flag.unsqueeze(-1) for key, flag in ends.items()} | {
        "observation": successor,
        "reward": (observation @ PAYS).unsqueeze(-1),
    }
    experience = TensorDict(
        {"observation": observation, "action": action, "next": TensorDict(following, [rows, steps])}, [rows, steps]
    )
    return experience, (observation, successor)
