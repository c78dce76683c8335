"""What every environment family shares: ``N`` games that step in one call, as one TorchRL environment.

A family subclasses ``VectorEnv`` and says only three things: how ``N`` seeded games begin, how they
advance by one action each, and how some of them restart. Specs, keys, flags and scores are kept here,
once, with the rules that every family obeys (and ``tests/envs/test_base.py`` checks):

- the observation stored at the end of an episode is the true last one, never the first of the next;
- ``terminated`` (the value of what follows is zero) and ``truncated`` (it is not) are kept apart;
- the learning signal (``reward``, ``terminated``) may be clipped or cut at a lost life; the scores
  (``episode_return``, ``episode_length``, ``game_over``) always tell of the raw, whole game;
- after ``set_seed(s)`` and ``reset()`` everything is a function of ``s`` and the actions, bit for bit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase

from dreamspi.errors import UserError

Function = Callable[[Tensor], Tensor]


class Step(NamedTuple):
    """What one action did to each of the ``N`` games."""

    observation: Tensor
    """``[N, *obs]``, the true one after the action, also where the episode ended."""
    reward: Tensor
    """``[N]`` float32, the learning signal."""
    raw_reward: Tensor
    """``[N]`` float32, what the game itself paid."""
    terminated: Tensor
    """``[N]`` bool, the learning episode ended and nothing more can be earned in it."""
    truncated: Tensor
    """``[N]`` bool, the game was cut off by a limit from outside."""
    game_over: Tensor
    """``[N]`` bool, the whole game ended (a lost life is ``terminated`` but not ``game_over``)."""


class VectorEnv(EnvBase):
    """``N`` copies of a game with discrete actions, batch-locked, on the CPU.

    Args:
        num_envs: number of copies ``N``.
        observation: spec of one observation, without the batch dimension. The ``high`` of a uint8 spec is
            the value that an encoder scales to 1.
        num_actions: size of the action set.
        max_steps: truncate a game after that many steps, 0 for no limit of ours.

    A step returns, beside TorchRL's ``observation``, ``reward``, ``terminated``, ``truncated`` and
    ``done``: ``episode_return`` ``[N, 1]`` float32 (raw return of the whole game so far),
    ``episode_length`` ``[N, 1]`` int64 (its steps so far) and ``game_over`` ``[N, 1]`` bool.
    """

    def __init__(self, num_envs: int, observation: TensorSpec, num_actions: int, max_steps: int = 0) -> None:
        within("num_envs", num_envs, 1)
        within("env.max_steps", max_steps, 0)
        super().__init__(device=torch.device("cpu"), batch_size=torch.Size([num_envs]))
        self.num_envs = num_envs
        self.max_steps = max_steps
        column = (num_envs, 1)
        self.observation_spec = Composite(
            observation=observation.expand(num_envs, *observation.shape),
            episode_return=Unbounded(column),
            episode_length=Unbounded(column, dtype=torch.int64),
            game_over=Binary(shape=column, dtype=torch.bool),
            shape=(num_envs,),
        )
        self.action_spec = Categorical(num_actions, shape=(num_envs,), dtype=torch.int64)
        self.reward_spec = Unbounded(column)
        flag = Binary(shape=column, dtype=torch.bool)
        self.done_spec = Composite(done=flag, terminated=flag.clone(), truncated=flag.clone(), shape=(num_envs,))
        self._seed: int | None = None
        self._observation: Tensor | None = None
        self._return = torch.zeros(num_envs)
        self._length = torch.zeros(num_envs, dtype=torch.int64)
        self._between_lives = torch.zeros(num_envs, dtype=torch.bool)

    # ------------------------------------------------------------------ what a family says

    @abstractmethod
    def _begin(self, seed: int) -> Tensor:
        """Seeds everything random from ``seed``, begins ``N`` new games, returns their observations."""

    @abstractmethod
    def _advance(self, action: Tensor) -> Step:
        """Plays ``action`` ``[N]`` int64, one per game. Never restarts a game."""

    @abstractmethod
    def _restart(self, mask: Tensor) -> Tensor:
        """Begins new games where ``mask`` ``[N]`` is true; returns the present observation of all ``N``.

        Called between steps; a tensor handed out earlier must not change.
        """

    @abstractmethod
    def render(self) -> np.ndarray:
        """Picture of copy 0, uint8 ``[H, W, 3]``."""

    def diagnostics(self, policy: Function, encode: Function) -> dict[str, float]:
        """Numbers that only this family can tell about an agent, ``{}`` unless it has some.

        Args:
            policy: from observations ``[..., *obs]`` to action probabilities ``[..., A]``.
            encode: from observations ``[..., *obs]`` to latents ``[..., *latent]``.
        """
        del policy, encode
        return {}

    # ------------------------------------------------------------------ TorchRL's protocol

    def _set_seed(self, seed: int | None) -> None:
        """The seed takes effect at the next full reset."""
        self._seed = seed

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        step = self._advance(tensordict.get("action"))
        self._observation = step.observation
        self._return = self._return + step.raw_reward
        self._length = self._length + 1
        terminated, truncated, game_over = step.terminated, step.truncated, step.game_over
        if self.max_steps:
            out_of_time = (self._length >= self.max_steps) & ~terminated
            truncated, game_over = truncated | out_of_time, game_over | out_of_time
        done = terminated | truncated
        self._between_lives = done & ~game_over
        return self._packed(
            step.observation,
            game_over,
            reward=step.reward,
            terminated=terminated,
            truncated=truncated,
            done=done,
        )

    def _reset(self, tensordict: TensorDictBase | None = None, **_: object) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is None or self._observation is None:
            fresh = torch.ones(self.num_envs, dtype=torch.bool)
            observation = self._begin_all(fresh)
            self._between_lives = ~fresh
        else:
            mask = mask.view(self.num_envs)
            # A learning episode that ended with a life goes on in the same game: its next root is the
            # present frame, and its scores keep counting.
            fresh = mask & ~self._between_lives
            observation = self._restart(fresh) if fresh.any() else self._observation
            self._between_lives = self._between_lives & ~mask
        self._observation = observation
        self._return = self._return.masked_fill(fresh, 0.0)
        self._length = self._length.masked_fill(fresh, 0)
        return self._packed(observation, torch.zeros_like(fresh))

    def _begin_all(self, everyone: Tensor) -> Tensor:
        """A seed given since the last full reset is used now; otherwise the generators run on."""
        if self._seed is None and self._observation is not None:
            return self._restart(everyone)
        seed = self._seed if self._seed is not None else int(torch.randint(2**31, ()))
        self._seed = None
        return self._begin(seed)

    def _packed(self, observation: Tensor, game_over: Tensor, **columns: Tensor) -> TensorDict:
        columns |= {"episode_return": self._return, "episode_length": self._length, "game_over": game_over}
        entries = {key: value.unsqueeze(-1) for key, value in columns.items()}
        entries["observation"] = observation
        return TensorDict(entries, batch_size=self.batch_size, device=self.device)


def copy_seeds(seed: int, num_envs: int) -> list[int]:
    """One independent seed in ``[0, 2**31)`` for each copy."""
    return [int(s) >> 1 for s in np.random.SeedSequence(seed).generate_state(num_envs)]


def within(key: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raises a ``UserError`` unless ``low <= value <= high``."""
    if not low <= value <= high:
        allowed = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
        raise UserError(f"{key}={value}: must be {allowed}.")


def upscaled(picture: np.ndarray, side: int = 336) -> np.ndarray:
    """``picture`` ``[h, w, 3]`` with every pixel repeated, so that the longer edge has about ``side``."""
    factor = max(1, side // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
