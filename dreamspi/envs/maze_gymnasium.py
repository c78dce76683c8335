"""The toy maze for other libraries: ``gymnasium.make("dreamspi.envs.maze_gymnasium:DreamSPI/Maze-v0")``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dreamspi.envs.base import upscaled
from dreamspi.envs.maze import cell_pictures
from dreamspi.envs.maze_mdp import ACTIONS, build_maze


class GymnasiumMaze(gymnasium.Env[np.ndarray, np.integer]):
    """One walker in the maze. Observation: uint8 ``[5, n + 3, 1]``, one pixel a cell.

    The arguments are those of ``build_maze``; ``gamma`` shapes the rewards at the choice cells.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self, path_length: int = 5, slip: float = 0.2, gamma: float = 0.99, render_mode: str | None = None
    ) -> None:
        self.render_mode = render_mode
        self.mdp = build_maze(path_length, slip, gamma)
        self._pictures = np.moveaxis(cell_pictures(self.mdp), 1, -1)
        self._state = self.mdp.start
        self.observation_space = spaces.Box(0, 255, self._pictures.shape[1:], np.uint8)
        self.action_space = spaces.Discrete(len(ACTIONS))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Back to the start."""
        super().reset(seed=seed, options=options)
        self._state = self.mdp.start
        return self._pictures[self._state].copy(), {}

    def step(self, action: int | np.integer) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One move."""
        reward = float(self.mdp.R[self._state, action])
        self._state = int(self.np_random.choice(len(self.mdp.names), p=self.mdp.P[self._state, action]))
        return self._pictures[self._state].copy(), reward, bool(self.mdp.terminal[self._state]), False, {}

    def render(self) -> np.ndarray | None:
        """The grid, upscaled, grey."""
        if self.render_mode is None:
            return None
        return upscaled(np.repeat(self._pictures[self._state], 3, axis=2))


gymnasium.register("DreamSPI/Maze-v0", entry_point=f"{__name__}:GymnasiumMaze", max_episode_steps=200)
