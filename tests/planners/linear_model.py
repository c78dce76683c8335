"""A world model small enough to know by heart: planners may use any that keeps the contract."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torchrl.data import Unbounded

from planners.agent import Agent
from world_models.contract import WorldModel


class LinearModel(WorldModel):
    """Linear encoder, normal transition with fixed scale, linear reward, constant termination probability."""

    def __init__(self, features: int = 3, latent: int = 4, num_actions: int = 3, ends: float = 0.0) -> None:
        super().__init__(Unbounded(features), num_actions)
        self.latent_spec = Unbounded(latent)
        self.encoder = nn.Linear(features, latent)
        self.mean = nn.Linear(latent + num_actions, latent)
        self.reward_net = nn.Linear(latent + num_actions, 1)
        self.ends = nn.Parameter(torch.tensor(ends))
        self.encoded = 0

    def join(self, latent: Tensor, action: Tensor) -> Tensor:
        return torch.cat((latent, nn.functional.one_hot(action, self.num_actions).to(latent.dtype)), -1)

    def encode(self, observation: Tensor) -> Tensor:
        self.encoded += observation.shape[:-1].numel()
        return self.encoder(observation)

    def transition(self, latent: Tensor, action: Tensor) -> Independent:
        return Independent(Normal(self.mean(self.join(latent, action)), 0.1), 1)

    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.reward_net(self.join(latent, action)).squeeze(-1)

    def termination(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        return self.ends.expand(action.shape)

    def local_losses(
        self, latent: Tensor, action: Tensor, reward: Tensor, next_latent: Tensor, terminated: Tensor
    ) -> TensorDict:
        predicted = self.mean(self.join(latent, action))
        return TensorDict(
            {
                "transition": (predicted - next_latent).square().sum(-1),
                "reward": (self.reward(latent, action) - reward).square(),
                "termination": (terminated.to(latent.dtype) - self.ends).square(),
            },
            batch_size=action.shape,
        )

    def local_distances(
        self, latent: Tensor, action: Tensor, reward: Tensor, next_latent: Tensor, terminated: Tensor
    ) -> TensorDict:
        return self.local_losses(latent, action, reward, next_latent, terminated)


def experience(agent: Agent, envs: int = 4, steps: int = 8, seed: int = 0) -> TensorDict:
    """A batch ``[N, T]`` of random transitions with some episode ends of both kinds."""
    torch.manual_seed(seed)
    shape = (envs, steps)
    observation = torch.randn(envs, steps + 1, 3)
    terminated = torch.rand(envs, steps, 1) < 0.15
    truncated = (torch.rand(envs, steps, 1) < 0.15) & ~terminated
    done = terminated | truncated
    successor = torch.where(done, torch.randn(envs, steps, 3), observation[:, 1:])
    batch = TensorDict({"observation": observation[:, :-1].clone()}, batch_size=shape)
    with torch.no_grad():
        batch = agent.policy()(batch)
    return batch.update(
        {
            "next": TensorDict(
                {
                    "observation": successor,
                    "reward": torch.randn(envs, steps, 1),
                    "terminated": terminated,
                    "truncated": truncated,
                    "done": done,
                },
                batch_size=shape,
            )
        }
    )
