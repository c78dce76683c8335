"""The toy maze as an exact Markov decision process (Deep SPI, arXiv 2510.12312, confounding example).

Two corridors look almost alike and pay almost alike; at their ends, the same action leads to a goal in
one and into a trap in the other. Slipping at the hazard decides, with probability ``slip``, which corridor
it is. An encoder that merges the corridors can do no better than to walk past both choices.

Everything here is numpy on tables of 2n + 6 states: the truth that learning is measured against.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dreamspi.errors import UserError
from planners.finite.mdp import FiniteMDP

UP, DOWN, LEFT, RIGHT = range(4)
ACTIONS = ("up", "down", "left", "right")
ROWS = 5
UPPER_ROW, LOWER_ROW = 1, 3


@dataclass(frozen=True)
class MazeMDP(FiniteMDP):
    """Tables over ``S`` states and ``A = 4`` actions (up, down, left, right)."""

    names: tuple[str, ...]
    """What each state is: ``start``, ``hazard``, ``upper_1`` ..., ``upper_choice``, ``goal`` ..."""
    cells: np.ndarray
    """``[S, 2]`` row and column of each state on the grid."""
    columns: int
    """Width of the grid; its height is ``ROWS``."""

    @property
    def start(self) -> int:
        """Index of the state where every episode begins."""
        return self.names.index("start")

    def deterministic_policy(self, **actions: int) -> np.ndarray:
        """``[S, A]`` policy that goes right, except in the named states: ``upper_choice=UP``."""
        chosen = [actions.get(name, RIGHT) for name in self.names]
        return np.eye(len(ACTIONS))[chosen]


def build_maze(path_length: int = 5, slip: float = 0.2, gamma: float = 0.99) -> MazeMDP:
    """The maze with corridors of ``path_length`` ``n >= 2``, slip ``e`` in (0, 1), ``gamma`` in (0, 1).

    Rewards: 1 for every step right along a corridor and out of it, ``n / gamma**n`` for up at the upper
    choice, ``-(2 - e) n / (e gamma**n)`` for up at the lower one, 0 otherwise.

    Raises:
        UserError: a parameter outside its range.
    """
    _check(path_length, slip, gamma)
    n = path_length
    cells = {"start": (2, 0), "hazard": (2, 1), "goal": (0, n), "trap": (2, n)}
    for corridor, row in (("upper", UPPER_ROW), ("lower", LOWER_ROW)):
        cells |= {f"{corridor}_{column}": (row, column) for column in range(1, n)}
        cells |= {f"{corridor}_choice": (row, n), f"{corridor}_exit": (row, n + 1)}
    names = tuple(cells)
    index = {name: i for i, name in enumerate(names)}

    P = np.repeat(np.eye(len(names))[:, None, :], len(ACTIONS), axis=1)
    R = np.zeros((len(names), len(ACTIONS)))

    def move(origin: str, action: int, target: str, reward: float) -> None:
        P[index[origin], action] = np.eye(len(names))[index[target]]
        R[index[origin], action] = reward

    move("start", RIGHT, "hazard", 0.0)
    for corridor in ("upper", "lower"):
        stations = [*range(1, n), "choice", "exit"]
        for here, there in pairwise(stations):
            move(f"{corridor}_{here}", RIGHT, f"{corridor}_{there}", 1.0)
    P[index["hazard"]] = 0.0
    P[index["hazard"], :, index["upper_1"]] = 1.0 - slip
    P[index["hazard"], :, index["lower_1"]] = slip
    move("upper_choice", UP, "goal", n / gamma**n)
    move("lower_choice", UP, "trap", -(2.0 - slip) * n / (slip * gamma**n))

    terminal = np.isin(names, ["goal", "trap", "upper_exit", "lower_exit"])
    initial = np.eye(len(names))[index["start"]]
    return MazeMDP(P, R, initial, terminal, gamma, names, np.array(list(cells.values())), n + 3)


def _check(path_length: int, slip: float, gamma: float) -> None:
    if path_length < 2:  # with 1, the trap would lie on the hazard
        raise UserError(f"env.path_length={path_length}: must be a whole number of at least 2.")
    if not 0.0 < slip < 1.0:
        raise UserError(f"env.slip={slip}: must lie strictly between 0 and 1.")
    if not 0.0 < gamma < 1.0:
        raise UserError(f"gamma={gamma}: must lie strictly between 0 and 1 in the maze.")
