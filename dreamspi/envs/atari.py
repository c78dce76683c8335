"""Atari 2600 games on ALE's own vector environment, which steps and preprocesses in C++ threads.

Decisions that keep the learning signal and the score honest (all tested in ``tests/envs/test_atari.py``):

- ALE never clips a reward and never ends an episode at a lost life for us: both leave no trace of the raw
  game. We clip, and we watch the lives.
- Games are restarted one by one through ``reset_mask`` before ALE would do so on its own, so that the
  observation after the last action is the true last one, with no second copy of it.
- Batches are complete and in order; unordered batches can't be reproduced.

Known limit of ALE 0.12: at game over its frame-skip loop stops before the screen is captured, so the newest
frame of the last observation repeats the one before. A termination model that sees only ``z'`` can hardly
learn it; give it ``(z, a)`` as well. ALE's vector environment can't be cloned or restored either: resuming
exactly needs a reseeded full reset (``set_seed`` and ``reset``), or the actions replayed since one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ale_py import roms
from ale_py.registration import rom_id_to_name
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from torch import Tensor
from torchrl.data import Bounded

from dreamspi.cores import cores
from dreamspi.envs.base import Step, VectorEnv, copy_seeds, upscaled, within
from dreamspi.errors import unknown

SIDE = 84


#: ROMs without a single-player mode; opening one makes ALE end the whole process.
MULTIPLAYER = {"combat", "joust", "maze_craze", "warlords"}


def games() -> dict[str, str]:
    """Every single-player game that ALE ships: its name (``SpaceInvaders``) and ROM (``space_invaders``)."""
    return {rom_id_to_name(rom): rom for rom in sorted(roms.get_all_rom_ids()) if rom not in MULTIPLAYER}


class AtariEnv(VectorEnv):
    """``N`` copies of one game. Observation: uint8 ``[stack, 84, 84]``, grey, oldest frame first.

    Args:
        num_envs: number of copies.
        training: evaluation (``False``) neither clips rewards nor ends an episode with a life.
        gamma: unused; every family takes it.
        name: a key of ``games()``.
        frame_skip: emulated frames per action; the last two are max-pooled.
        stack: frames per observation.
        noop_max: a game begins with up to this many no-ops.
        sticky: probability that the emulator repeats the last action, each frame.
        full_action_set: all 18 actions, or only those that the game uses.
        life_loss: a lost life terminates the learning episode; the game goes on.
        clip_rewards: the learning signal is the reward clipped to [-1, 1].
        fire_reset: press fire when a game begins, where it has that action.
        max_frames: truncate a game after that many emulated frames.
        num_threads: emulator threads, 0 for all cores of this process. Collecting and computing take turns
            in one process, so they need not share; a collector in its own process does (set it lower).

    Raises:
        UserError: no such game, or a key out of its range.
    """

    def __init__(
        self,
        num_envs: int,
        training: bool = True,
        gamma: float = 0.99,
        name: str = "Pong",
        frame_skip: int = 4,
        stack: int = 4,
        noop_max: int = 30,
        sticky: float = 0.0,
        full_action_set: bool = False,
        life_loss: bool = True,
        clip_rewards: bool = True,
        fire_reset: bool = True,
        max_frames: int = 108_000,
        num_threads: int = 0,
    ) -> None:
        del gamma
        if name not in games():
            raise unknown("env.name", name, games())
        for key, value in (("frame_skip", frame_skip), ("stack", stack), ("max_frames", max_frames)):
            within(f"env.{key}", value, 1)
        for key, value in (("noop_max", noop_max), ("num_threads", num_threads)):
            within(f"env.{key}", value, 0)
        within("env.sticky", sticky, 0, 1)
        emulator = AtariVectorEnv(
            games()[name],
            num_envs,
            autoreset_mode=AutoresetMode.NEXT_STEP,
            num_threads=num_threads or cores(),
            frameskip=frame_skip,
            stack_num=stack,
            img_height=SIDE,
            img_width=SIDE,
            noop_max=noop_max,
            repeat_action_probability=sticky,
            full_action_space=full_action_set,
            use_fire_reset=fire_reset,
            max_num_frames_per_episode=max_frames,
            reward_clipping=False,
            life_loss_info=False,
            episodic_life=False,
        )
        super().__init__(
            num_envs,
            Bounded(0, 255, shape=(stack, SIDE, SIDE), dtype=torch.uint8),
            len(emulator.ale.get_action_set()),
        )
        self._emulator = emulator
        self._clips = training and clip_rewards
        self._ends_with_life = training and life_loss
        self._lives = np.zeros(num_envs, dtype=np.int32)

    def _begin(self, seed: int) -> Tensor:
        return self._seen(*self._emulator.reset(seed=np.array(copy_seeds(seed, self.num_envs))))

    def _restart(self, mask: Tensor) -> Tensor:
        return self._seen(*self._emulator.reset(options={"reset_mask": mask.numpy()}))

    def _advance(self, action: Tensor) -> Step:
        frames, reward, terminated, truncated, info = self._emulator.step(action.numpy())
        raw = torch.from_numpy(reward).float()
        game_over = torch.from_numpy(terminated | truncated)
        # Qbert and others show 0 lives for some frames before the game is over: only a life that leaves
        # another one ends an episode.
        lost_life = (info["lives"] < self._lives) & (info["lives"] > 0) & ~truncated
        ended = terminated | lost_life if self._ends_with_life else terminated
        return Step(
            self._seen(frames, info),
            raw.clamp(-1.0, 1.0) if self._clips else raw,
            raw,
            torch.from_numpy(ended),
            torch.from_numpy(truncated & ~ended),
            game_over,
        )

    def _seen(self, frames: np.ndarray, info: dict[str, Any]) -> Tensor:
        """ALE hands out a new array with every call, so it is shared, not copied."""
        self._lives = info["lives"]
        return torch.from_numpy(frames)

    def render(self) -> np.ndarray:
        """The newest grey frame of copy 0: ALE's vector environment has no other picture."""
        if self._observation is None:
            raise RuntimeError("reset the environment before rendering it.")
        return upscaled(np.repeat(self._observation[0, -1, :, :, None].numpy(), 3, axis=2))
