"""Stable-Baselines3's PPO, its policy, buffer and ``learn``, on ALE's vector environment or on MinAtar."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from games import MinAtar, atari
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
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor, nn


class Games(VecEnv):
    """ALE's vector environment in Stable-Baselines3's protocol, without a copy."""

    def __init__(self, games: Any) -> None:
        self.games = games
        super().__init__(games.num_envs, games.single_observation_space, games.single_action_space)

    def reset(self) -> np.ndarray:
        return self.games.reset(seed=0)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observed, reward, terminated, truncated, _ = self.games.step(self.actions)
        return observed, reward, terminated | truncated, [{} for _ in range(self.num_envs)]

    def close(self) -> None:
        self.games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


class SmallCNN(BaseFeaturesExtractor):
    """What DreamSPI puts on MinAtar: 16 filters of 3 x 3, dense 128, and the heads' dense layer."""

    def __init__(self, observation_space: gymnasium.spaces.Box, features_dim: int) -> None:
        super().__init__(observation_space, features_dim)
        channels, height, width = observation_space.shape
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), 128),
            nn.ReLU(),
            nn.Linear(128, features_dim),
            nn.ReLU(),
        )

    def forward(self, observations: Tensor) -> Tensor:
        return self.body(observations)


def build(work: Work) -> Contender:
    """A model, of which an iteration is ``learn`` for one batch."""
    extractor: dict[str, Any] = {"features_extractor_kwargs": {"features_dim": DENSE[work.family]}, "net_arch": []}
    if work.family == "minatar":
        games: VecEnv = DummyVecEnv([lambda: MinAtar(work.name)] * work.envs)
        extractor |= {"features_extractor_class": SmallCNN, "normalize_images": False}
        packages = ("stable-baselines3", "minatar")
    else:
        games, packages = Games(atari(work)), ("stable-baselines3", "ale-py")
    model = PPO(
        "CnnPolicy",
        games,
        learning_rate=LEARNING_RATE,
        n_steps=work.steps,
        batch_size=work.minibatch,
        n_epochs=work.epochs,
        gamma=GAMMA,
        gae_lambda=LAMBDA,
        clip_range=CLIP,
        ent_coef=ENTROPY,
        vf_coef=VALUE,
        max_grad_norm=MAX_GRAD_NORM,
        policy_kwargs={"optimizer_kwargs": {"eps": ADAM_EPS}, **extractor},
        device="cpu",
    )
    torch.set_num_threads(work.threads)

    def iterate() -> None:
        model.learn(work.batch, reset_num_timesteps=False, log_interval=1_000_000)

    return Contender(iterate, work.batch, count(model.policy.parameters()), packages)


if __name__ == "__main__":
    serve(build)
