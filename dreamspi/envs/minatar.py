"""MinAtar (Young and Tian, arXiv 1903.03176): five small games, 10 x 10 cells, a laboratory for a CPU."""

from __future__ import annotations

import numpy as np
import torch
from minatar import Environment
from torch import Tensor
from torchrl.data import Bounded

from dreamspi.envs.base import Step, VectorEnv, copy_seeds, upscaled, within
from dreamspi.errors import unknown

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")

#: One colour per channel; a later channel is drawn over an earlier one, black is empty.
PALETTE = np.array(
    [
        (0, 0, 0),
        (86, 180, 233),
        (240, 228, 66),
        (120, 120, 120),
        (213, 94, 0),
        (0, 158, 115),
        (204, 121, 167),
        (230, 159, 0),
        (0, 114, 178),
        (160, 220, 160),
        (255, 255, 255),
    ],
    dtype=np.uint8,
)


class MinAtarEnv(VectorEnv):
    """``N`` copies of one MinAtar game. Observation: uint8 ``[C, 10, 10]`` of zeros and ones.

    Args:
        num_envs: number of copies.
        training: no difference here; every family takes it.
        gamma: unused; every family takes it.
        name: one of ``GAMES``.
        sticky_action_prob: probability that the game repeats its last action instead of the chosen one.
        minimal_actions: only the actions that do something in this game (MinAtar's v1), or all six (v0).
        max_steps: truncate games after that many steps; 0 for no limit, as in MinAtar itself.

    Raises:
        UserError: no such game, or a key out of its range.
    """

    def __init__(
        self,
        num_envs: int,
        training: bool = True,
        gamma: float = 0.99,
        name: str = "breakout",
        sticky_action_prob: float = 0.1,
        minimal_actions: bool = True,
        max_steps: int = 10_000,
    ) -> None:
        del training, gamma
        if name not in GAMES:
            raise unknown("env.name", name, GAMES)
        within("env.sticky_action_prob", sticky_action_prob, 0, 1)
        self._games = [Environment(name, sticky_action_prob) for _ in range(num_envs)]
        game = self._games[0]
        actions = game.minimal_action_set() if minimal_actions else range(game.num_actions())
        height, width, channels = game.state_shape()
        super().__init__(
            num_envs,
            Bounded(0, 1, shape=(channels, height, width), dtype=torch.uint8),
            len(actions),
            max_steps,
        )
        self._actions = torch.tensor(list(actions))
        self._never = torch.zeros(num_envs, dtype=torch.bool)

    def _begin(self, seed: int) -> Tensor:
        for game, copy_seed in zip(self._games, copy_seeds(seed, self.num_envs), strict=True):
            game.seed(copy_seed)
        return self._restart(~self._never)

    def _restart(self, mask: Tensor) -> Tensor:
        restarted = [self._games[i] for i in mask.nonzero().flatten().tolist()]
        for game in restarted:
            game.reset()
            game.last_action = 0  # MinAtar lets it stick to the next game
        if self._observation is None:
            return self._pictures(self._games)
        observation = self._observation.clone()
        observation[mask] = self._pictures(restarted)
        return observation

    def _advance(self, action: Tensor) -> Step:
        results = [game.act(a) for game, a in zip(self._games, self._actions[action].tolist(), strict=True)]
        rewards, over = zip(*results, strict=True)
        reward, terminated = torch.tensor(rewards, dtype=torch.float32), torch.tensor(over)
        return Step(self._pictures(self._games), reward, reward, terminated, self._never, terminated)

    @staticmethod
    def _pictures(games: list[Environment]) -> Tensor:
        """uint8 ``[len(games), C, 10, 10]``."""
        states = np.stack([game.state() for game in games]).view(np.uint8)
        return torch.from_numpy(np.ascontiguousarray(states.transpose(0, 3, 1, 2)))

    def render(self) -> np.ndarray:
        """One colour per channel."""
        state = self._games[0].state()
        layer = (state * np.arange(1, state.shape[2] + 1)).max(2)
        return upscaled(PALETTE[layer])
