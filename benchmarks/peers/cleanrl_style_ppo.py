"""PPO in one file, after its published description, in the spirit of CleanRL; on ALE's vector environment, on EnvPool
or on MinAtar.

Observations are kept as bytes, nothing is logged: what the loop must do and no more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from games import atari, minatar
from protocol import (
    ADAM_EPS,
    CLIP,
    DENSE,
    ENTROPY,
    GAMMA,
    LAMBDA,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    VALUE,
    Contender,
    Work,
    count,
    serve,
)
from torch import Tensor, nn
from torch.distributions import Categorical


def layer(module: nn.Module, gain: float = 2**0.5) -> nn.Module:
    """The module with orthogonal weights and no bias."""
    nn.init.orthogonal_(module.weight, gain)
    nn.init.zeros_(module.bias)
    return module


def nature_cnn(channels: int, dense: int) -> list[nn.Module]:
    """Atari's: three convolutions over 84 x 84, one dense layer."""
    return [
        layer(nn.Conv2d(channels, 32, 8, 4)),
        nn.ReLU(),
        layer(nn.Conv2d(32, 64, 4, 2)),
        nn.ReLU(),
        layer(nn.Conv2d(64, 64, 3, 1)),
        nn.ReLU(),
        nn.Flatten(),
        layer(nn.Linear(64 * 7 * 7, dense)),
        nn.ReLU(),
    ]


def small_cnn(channels: int, dense: int) -> list[nn.Module]:
    """MinAtar's: one convolution over 10 x 10, two dense layers."""
    return [
        layer(nn.Conv2d(channels, 16, 3)),
        nn.ReLU(),
        nn.Flatten(),
        layer(nn.Linear(16 * 8 * 8, 128)),
        nn.ReLU(),
        layer(nn.Linear(128, dense)),
        nn.ReLU(),
    ]


class Agent(nn.Module):
    """Features, an actor and a critic on them; bytes of ``scale`` are 1."""

    def __init__(self, features: list[nn.Module], num_actions: int, dense: int, scale: float) -> None:
        super().__init__()
        self.features, self.scale = nn.Sequential(*features), scale
        self.actor = layer(nn.Linear(dense, num_actions), 0.01)
        self.critic = layer(nn.Linear(dense, 1), 1.0)

    def forward(self, frames: Tensor) -> tuple[Categorical, Tensor]:
        """Bytes ``[B, C, height, width]`` to policy and values ``[B]``."""
        features = self.features(frames / self.scale)
        return Categorical(logits=self.actor(features)), self.critic(features).squeeze(-1)


def envpool_games(work: Work) -> Any:
    """EnvPool's own emulator threads; its games begin anew in the step after they end."""
    import envpool

    return envpool.make(
        f"{work.name}-v5",
        env_type="gymnasium",
        num_envs=work.envs,
        num_threads=work.threads,
        seed=0,
        episodic_life=True,
        reward_clip=True,
        noop_max=30,
        stack_num=4,
        frame_skip=4,
    )


def build(work: Work) -> Contender:
    """Games, network, optimizer, and one iteration as a function."""
    if work.family == "minatar":
        games, packages = minatar(work), ("minatar",)
    elif work.emulator == "envpool":
        games, packages = envpool_games(work), ("envpool",)
    else:
        games, packages = atari(work), ("ale-py",)
    single = getattr(games, "single_observation_space", games.observation_space).shape
    num_actions = int(getattr(games, "single_action_space", games.action_space).n)
    dense = DENSE[work.family]
    features, scale = (small_cnn, 1.0) if work.family == "minatar" else (nature_cnn, 255.0)
    agent = Agent(features(single[0], dense), num_actions, dense, scale)
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=ADAM_EPS)
    shape = (work.steps, work.envs)
    frames = torch.zeros(*shape, *single, dtype=torch.uint8)
    actions = torch.zeros(shape, dtype=torch.int64)
    log_probs, rewards, ends, values = (torch.zeros(shape) for _ in range(4))
    present = torch.from_numpy(np.asarray(games.reset()[0]))

    def collect() -> Tensor:
        """Fills the buffers; returns the value of the states that follow, ``[N]``."""
        nonlocal present
        for step in range(work.steps):
            frames[step] = present
            with torch.no_grad():
                policy, values[step] = agent(present)
                actions[step] = policy.sample()
                log_probs[step] = policy.log_prob(actions[step])
            observed, reward, terminated, truncated, _ = games.step(actions[step].numpy())
            present = torch.from_numpy(observed)
            rewards[step] = torch.from_numpy(np.asarray(reward, dtype=np.float32))
            ends[step] = torch.from_numpy(np.asarray(terminated | truncated, dtype=np.float32))
        with torch.no_grad():
            return agent(present)[1]

    def advantages(last: Tensor) -> Tensor:
        """GAE(lambda), ``[T, N]``."""
        found = torch.zeros(shape)
        ahead = torch.zeros(work.envs)
        for step in reversed(range(work.steps)):
            following = last if step == work.steps - 1 else values[step + 1]
            alive = 1.0 - ends[step]
            ahead = rewards[step] + GAMMA * alive * following - values[step] + GAMMA * LAMBDA * alive * ahead
            found[step] = ahead
        return found

    def iterate() -> None:
        gain = advantages(collect())
        target = (gain + values).flatten()
        flat_frames, flat_actions, flat_gain, old = (x.flatten(0, 1) for x in (frames, actions, gain, log_probs))
        for _ in range(work.epochs):
            for chosen in torch.randperm(work.batch).split(work.minibatch):
                policy, value = agent(flat_frames[chosen])
                ratio = (policy.log_prob(flat_actions[chosen]) - old[chosen]).exp()
                utility = flat_gain[chosen]
                utility = (utility - utility.mean()) / (utility.std() + 1e-8)
                objective = torch.min(ratio * utility, ratio.clamp(1 - CLIP, 1 + CLIP) * utility).mean()
                error = (value - target[chosen]).square().mean()
                loss = -objective + VALUE * error - ENTROPY * policy.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
                optimizer.step()

    return Contender(iterate, work.batch, count(agent.parameters()), packages)


if __name__ == "__main__":
    serve(build)
