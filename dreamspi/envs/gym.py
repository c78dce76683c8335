"""Any Gymnasium environment with discrete actions, by its id."""

from __future__ import annotations

import importlib

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor
from torchrl.data import Bounded, OneHot, TensorSpec, Unbounded

from dreamspi.envs.base import Step, VectorEnv, copy_seeds
from dreamspi.errors import UserError, unknown


class GymEnv(VectorEnv):
    """``N`` copies of a Gymnasium environment, stepped one after the other in this process.

    Observations: a flat ``Box`` becomes float32; a uint8 image ``Box`` ``[H, W, C]`` becomes uint8
    ``[C, H, W]``; a ``Discrete`` becomes a float32 one-hot. Games are restarted by us, never by Gymnasium,
    so that the last observation of an episode is the one that ``step`` returned.

    Args:
        num_envs: number of copies.
        training: evaluation (``False``) makes copy 0 with ``rgb_array`` rendering, so that it can be filmed.
        gamma: unused; every family takes it.
        name: Gymnasium id; ``module:id`` imports ``module`` first.

    Raises:
        UserError: no such id, or spaces that we can't take.
    """

    def __init__(self, num_envs: int, training: bool = True, gamma: float = 0.99, name: str = "CartPole-v1") -> None:
        del gamma
        check_id(name)
        filmed = 0 if not training else -1
        makers = [lambda i=i: _make(name, filmed=i == filmed) for i in range(num_envs)]
        try:
            games = SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            raise UserError(f"env.name={name}: Gymnasium can't make it: {error}") from error
        actions = games.single_action_space
        if not isinstance(actions, spaces.Discrete):
            raise UserError(f"env.name={name}: its action space is {actions}; only Discrete actions are taken.")
        super().__init__(num_envs, observation_spec(name, games.single_observation_space), int(actions.n))
        self._games = games
        self.name = name
        self._first_action = int(actions.start)

    def _begin(self, seed: int) -> Tensor:
        seeds: list[int | None] = [*copy_seeds(seed, self.num_envs)]
        observation, _ = self._games.reset(seed=seeds)
        return self._converted(observation)

    def _restart(self, mask: Tensor) -> Tensor:
        observation, _ = self._games.reset(options={"reset_mask": mask.numpy()})
        return self._converted(observation)

    def _advance(self, action: Tensor) -> Step:
        observation, reward, terminated, truncated, _ = self._games.step(action.numpy() + self._first_action)
        raw = torch.from_numpy(reward).float()
        ended = torch.from_numpy(terminated)
        # Some environments say both; then what follows is worth nothing, and there is nothing to bootstrap.
        cut = torch.from_numpy(truncated & ~terminated)
        return Step(self._converted(observation), raw, raw, ended, cut, ended | cut)

    def _converted(self, observation: np.ndarray) -> Tensor:
        """Always a copy: Gymnasium writes the next observation into the same buffer."""
        space = self._games.single_observation_space
        if isinstance(space, spaces.Discrete):
            return torch.nn.functional.one_hot(torch.from_numpy(observation - space.start).long(), int(space.n)).float()
        if observation.ndim == 4:
            return torch.from_numpy(observation.transpose(0, 3, 1, 2).copy())
        return torch.from_numpy(observation.astype(np.float32))

    def render(self) -> np.ndarray:
        """What the environment itself draws.

        Raises:
            UserError: it was made for training, can't draw, or lacks a package to draw with.
        """
        game = self._games.envs[0]
        if game.render_mode != "rgb_array":
            raise UserError(f"env.name={self.name}: not made for evaluation, or without rgb_array.")
        try:
            return np.asarray(game.render(), dtype=np.uint8)
        except gymnasium.error.DependencyNotInstalled as error:
            raise UserError(f"env.name={self.name}: can't be filmed: {error}") from error

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Frees the copies."""
        self._games.close()
        super().close(raise_if_closed=raise_if_closed)


def observation_spec(name: str, space: gymnasium.Space) -> TensorSpec:
    """Spec of one observation as ``GymEnv`` returns it."""
    if isinstance(space, spaces.Discrete):
        return OneHot(int(space.n), dtype=torch.float32)
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return Unbounded(space.shape)
    if isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8:
        height, width, channels = space.shape
        return Bounded(0, 255, shape=(channels, height, width), dtype=torch.uint8)
    raise UserError(
        f"env.name={name}: its observation space is {space}; taken are Discrete, flat Box, and uint8 "
        "image Box of shape [height, width, channels]."
    )


def check_id(name: str) -> None:
    """Raises a ``UserError`` with the nearest ids if Gymnasium doesn't know ``name``."""
    module, _, env_id = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        gymnasium.spec(env_id)
    except ModuleNotFoundError as error:
        raise UserError(f"env.name={name}: {error}.") from error
    except gymnasium.error.Error as error:
        raise unknown("env.name", name, sorted(gymnasium.registry)) from error


def _make(name: str, filmed: bool) -> gymnasium.Env:
    env = gymnasium.make(name, disable_env_checker=True)
    if not filmed or "rgb_array" not in env.metadata.get("render_modes", []):
        return env
    env.close()
    return gymnasium.make(name, disable_env_checker=True, render_mode="rgb_array")
