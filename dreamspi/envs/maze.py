"""The toy maze as an environment: pictures in, exact numbers out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchrl.data import Bounded

from dreamspi.envs.base import Function, Step, VectorEnv, upscaled
from dreamspi.envs.maze_mdp import ACTIONS, RIGHT, ROWS, UP, MazeMDP, build_maze
from dreamspi.errors import unknown

PICTURES = ("cells", "84")
WALL, CORRIDOR, AGENT = 50, 100, 255
SHADES = {"start": 120, "hazard": 180, "upper_exit": 200, "lower_exit": 200, "goal": 220, "trap": 220}


class MazeEnv(VectorEnv):
    """``N`` walkers in one maze, stepped by table look-up. Episodes are truncated at ``max_steps``.

    Args:
        num_envs: number of walkers.
        training: no difference here; every family takes it.
        gamma: discount, which the rewards at the choice cells depend on.
        name: unused, the family has one maze.
        path_length: length ``n`` of both corridors.
        slip: probability ``e`` of the lower corridor.
        picture: ``cells`` (uint8 ``[1, 5, n + 3]``, one pixel a cell) or ``84`` (uint8 ``[1, 84, 84]``).
        max_steps: truncation.
    """

    def __init__(
        self,
        num_envs: int,
        training: bool = True,
        gamma: float = 0.99,
        name: str = "",
        path_length: int = 5,
        slip: float = 0.2,
        picture: str | int = "cells",
        max_steps: int = 200,
    ) -> None:
        del training, name
        if str(picture) not in PICTURES:
            raise unknown("env.picture", picture, PICTURES)
        self.mdp = build_maze(path_length, slip, gamma)
        cells = cell_pictures(self.mdp)
        pictures = cells if str(picture) == "cells" else resized(cells, 84)
        super().__init__(
            num_envs,
            Bounded(0, 255, shape=pictures.shape[1:], dtype=torch.uint8),
            len(ACTIONS),
            max_steps,
        )
        self.pictures = torch.from_numpy(pictures)
        likelier, other, probability = two_successors(self.mdp.P)
        self._likelier, self._other = torch.from_numpy(likelier), torch.from_numpy(other)
        self._other_probability = torch.from_numpy(probability)
        self._reward = torch.from_numpy(self.mdp.R).float()
        self._terminal = torch.from_numpy(self.mdp.terminal)
        self._generator = torch.Generator()
        self._state = torch.full((num_envs,), self.mdp.start)
        self._never = torch.zeros(num_envs, dtype=torch.bool)

    def _begin(self, seed: int) -> Tensor:
        self._generator.manual_seed(seed)
        return self._restart(~self._never)

    def _restart(self, mask: Tensor) -> Tensor:
        self._state = self._state.masked_fill(mask, self.mdp.start)
        return self.pictures[self._state]

    def _advance(self, action: Tensor) -> Step:
        move = self._state * len(ACTIONS) + action
        luck = torch.rand(self.num_envs, generator=self._generator, dtype=torch.float64)
        slipped = luck < self._other_probability.take(move)
        self._state = torch.where(slipped, self._other.take(move), self._likelier.take(move))
        reward = self._reward.take(move)
        terminated = self._terminal[self._state]
        return Step(self.pictures[self._state], reward, reward, terminated, self._never, terminated)

    def render(self) -> np.ndarray:
        """The grid in colour: goal green, trap red, walker white."""
        grey = self._observation if self._observation is not None else self.pictures[self._state]
        picture = np.repeat(grey[0, 0, :, :, None].numpy(), 3, axis=2)
        if picture.shape[0] == ROWS:
            for name, colour in (("goal", (60, 170, 90)), ("trap", (200, 70, 60))):
                row, column = self.mdp.cells[self.mdp.names.index(name)]
                if picture[row, column, 0] != AGENT:
                    picture[row, column] = colour
        return upscaled(picture)

    @torch.no_grad()
    def diagnostics(self, policy: Function, encode: Function) -> dict[str, float]:
        """How good the policy truly is, and whether the encoder tells the two choice cells apart.

        ``maze_value``: exact value at the start of the stochastic policy; ``maze_optimum``: the best there
        is; ``maze_latent_distance``: L2 distance of the two choice cells' latents divided by the square
        root of the latent size, so that latents of different sizes compare; ``maze_up_upper`` and so on:
        probability of an action at a choice cell.
        """
        probabilities = policy(self.pictures).double().cpu().numpy()
        upper, lower = (self.mdp.names.index(f"{corridor}_choice") for corridor in ("upper", "lower"))
        latents = encode(self.pictures[[upper, lower]]).float().flatten(1)
        distance = torch.linalg.vector_norm(latents[0] - latents[1]) / latents.shape[1] ** 0.5
        return {
            "maze_value": float(self.mdp.policy_value(probabilities)[self.mdp.start]),
            "maze_optimum": float(self.mdp.optimal_value()[self.mdp.start]),
            "maze_latent_distance": float(distance),
            "maze_up_upper": float(probabilities[upper, UP]),
            "maze_up_lower": float(probabilities[lower, UP]),
            "maze_right_upper": float(probabilities[upper, RIGHT]),
            "maze_right_lower": float(probabilities[lower, RIGHT]),
        }


def two_successors(P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``P`` ``[S, A, S]`` with at most two successors each, as tables ``[S, A]``: the likelier successor,
    the other one, and the probability of the other one."""
    order = np.argsort(P, axis=2, kind="stable")
    likelier, other = order[:, :, -1], order[:, :, -2]
    probability = np.take_along_axis(P, other[:, :, None], axis=2)[:, :, 0]
    return likelier.copy(), other.copy(), probability


def cell_pictures(mdp: MazeMDP) -> np.ndarray:
    """Grey picture of each state, one pixel a cell: uint8 ``[S, 1, 5, n + 3]``."""
    grid = np.full((ROWS, mdp.columns), WALL, dtype=np.uint8)
    for name, (row, column) in zip(mdp.names, mdp.cells, strict=True):
        grid[row, column] = SHADES.get(name, CORRIDOR)
    pictures = np.repeat(grid[None, None], len(mdp.names), axis=0)
    pictures[np.arange(len(mdp.names)), 0, mdp.cells[:, 0], mdp.cells[:, 1]] = AGENT
    return pictures


def resized(pictures: np.ndarray, side: int) -> np.ndarray:
    """Nearest-neighbour resize of ``[..., h, w]`` to ``[..., side, side]``, pixel centres aligned."""
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in pictures.shape[-2:])
    return np.ascontiguousarray(pictures[..., rows[:, None], columns])
