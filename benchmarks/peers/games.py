"""The emulators that the peers play on, with the options that DreamSPI uses: ALE's own vector environment, and MinAtar.

ALE clips rewards, ends an episode with a life and begins a new game in the same step, all in C++: the cheapest way,
which leaves the peers nothing to do in Python.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from protocol import Work


def atari(work: Work) -> AtariVectorEnv:
    """Copies of an Atari game: 84 x 84 grey, 4 frames, frame skip 4, up to 30 no-ops, rewards clipped."""
    return AtariVectorEnv(
        work.rom,
        work.envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        num_threads=work.threads,
        frameskip=4,
        stack_num=4,
        img_height=84,
        img_width=84,
        noop_max=30,
        repeat_action_probability=0.0,
        full_action_space=False,
        use_fire_reset=True,
        max_num_frames_per_episode=108_000,
        reward_clipping=True,
        life_loss_info=True,
    )


class MinAtar(gymnasium.Env):
    """One MinAtar game with its minimal actions, channels first, cut after 10,000 steps."""

    def __init__(self, name: str) -> None:
        import minatar

        self.game = minatar.Environment(name)
        self.actions = self.game.minimal_action_set()
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))
        height, width, channels = self.game.state_shape()
        self.observation_space = gymnasium.spaces.Box(0, 1, (channels, height, width), dtype=np.uint8)
        self.length = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.game.reset()
        self.length = 0
        return self._seen(), {}

    def step(self, action: int) -> Any:
        reward, terminated = self.game.act(self.actions[int(action)])
        self.length += 1
        return self._seen(), float(reward), terminated, self.length >= 10_000, {}

    def _seen(self) -> np.ndarray:
        return self.game.state().transpose(2, 0, 1).astype(np.uint8)


def minatar(work: Work) -> gymnasium.vector.SyncVectorEnv:
    """Copies of a MinAtar game, one Gymnasium environment each, as most users have them."""
    return gymnasium.vector.SyncVectorEnv(
        [lambda: MinAtar(work.name)] * work.envs, autoreset_mode=AutoresetMode.SAME_STEP
    )
