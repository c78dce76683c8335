"""The two failures that the neighborhood is for, in MDPs small enough to be exact: a dream outside of the data, and
an encoder that merges what must be told apart. ``benchmarks/theorems.py`` draws both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from dreamspi.envs.maze_mdp import RIGHT, UP, MazeMDP
from planners.finite.mdp import FiniteMDP, best_in_neighborhood, importance_ratios

FORWARD, JUMP = range(2)
GOAL, ABYSS, PROMISE = 10.0, -10.0, 20.0


def ledge(cells: int = 5, gamma: float = 0.9) -> FiniteMDP:
    """A path of cells to a goal, with an abyss beside every cell.

    States: the cells, then the abyss of each, then the end. ``FORWARD`` goes one cell on, and from the last to the
    end, which pays ``GOAL``; ``JUMP`` goes into the cell's abyss, from where everything leads to the end and pays
    ``ABYSS``.
    """
    end = 2 * cells
    P, R = np.zeros((end + 1, 2, end + 1)), np.zeros((end + 1, 2))
    for cell in range(cells):
        P[cell, FORWARD, cell + 1 if cell + 1 < cells else end] = 1.0
        P[cell, JUMP, cells + cell] = 1.0
    P[cells:, :, end] = 1.0
    R[cells - 1, FORWARD] = GOAL
    R[cells:end] = ABYSS
    return FiniteMDP(P, R, np.eye(end + 1)[0], np.eye(end + 1)[end] > 0, gamma)


class Iteration(NamedTuple):
    """One turn of gathering data, refitting the model, and maximizing in it."""

    real: float  # rho of the new policy in the world
    dreamt: float  # rho of the new policy in the model that it was chosen in
    departure: float  # D_sup from the policy that gathered the data to the new one


def dream_beyond_the_data(
    C: float | None, iterations: int = 30, episodes: float = 20.0, rare: float = 0.001
) -> list[Iteration]:
    """Plans on the ledge with a model that promises ``PROMISE`` in every abyss until data say otherwise.

    The model knows the transitions and, of the rewards in a state, the mean of what it believed at first, counted as
    one visit, and of the ``n(s)`` visits made: ``R̄(s, a) = R(s, a) + (R̄_0(s, a) - R(s, a)) / (1 + n(s))``. Visits
    are expected ones: every iteration adds ``episodes`` times those in an episode of the current policy.

    Args:
        C: the neighborhood constant, or None for the best policy of the model, however far away.
        iterations: how many.
        episodes: gathered in each.
        rare: probability of ``JUMP`` in the first policy: far less than one jump in the first data.

    Returns:
        The first policy, which no model promised anything, then each iteration.
    """
    mdp = ledge()
    believed = np.where(mdp.R == ABYSS, PROMISE, mdp.R)
    policy = np.tile([1.0 - rare, rare], (len(mdp.R), 1))
    visits = np.zeros((len(mdp.R), 1))
    history = [Iteration(mdp.rho(policy), mdp.rho(policy), 1.0)]
    for _ in range(iterations):
        process = mdp.episodes(policy)
        visits += episodes * process.episode_length * process.distribution[:, None]
        model = replace(mdp, R=mdp.R + (believed - mdp.R) / (1.0 + visits))
        chosen = model.optimal_policy() if C is None else best_in_neighborhood(policy, model.advantage(policy), C)
        departure = importance_ratios(policy, chosen, mdp.visited(policy) & ~mdp.terminal)[1]
        policy = chosen
        history.append(Iteration(mdp.rho(policy), model.rho(policy), departure))
    return history


class BestLatent(NamedTuple):
    """The best policy that an encoder of the maze allows, as a policy ``[S, A]`` of the maze."""

    value: float  # exact, at the start
    policy: np.ndarray


def twin(name: str) -> str:
    """The cell of the upper corridor that a cell of the lower one looks like; any other cell itself."""
    return name.replace("lower", "upper")


def best_latent_policy(maze: MazeMDP, merged: Sequence[str] = ()) -> BestLatent:
    """The best policy that acts alike in each of the named cells of the lower corridor and its twin above.

    Tries every deterministic choice of the actions in these cells, and solves the rest exactly.
    """
    actions = range(maze.R.shape[1])
    found = []
    for chosen in product(actions, repeat=len(merged)):
        P, R = maze.P.copy(), maze.R.copy()
        pairs = [(cell, a) for name, a in zip(merged, chosen, strict=True) for cell in (name, twin(name))]
        cells = {maze.names.index(cell): action for cell, action in pairs}
        for cell, action in cells.items():
            P[cell], R[cell] = maze.P[cell, action], maze.R[cell, action]  # whatever one does, this happens
        policy = replace(maze, P=P, R=R).optimal_policy()
        for cell, action in cells.items():
            policy[cell] = np.eye(len(actions))[action]
        found.append(BestLatent(maze.rho(policy), policy))
    return max(found, key=lambda best: best.value)


def lower_corridor(maze: MazeMDP) -> list[str]:
    """Names of the cells of the lower corridor that have a choice and a twin: its path and its choice cell."""
    return [name for name in maze.names if name.startswith("lower") and not name.endswith("exit")]


class Merging(NamedTuple):
    """An update of the encoder alone: it moves the latents of the choice cells towards each other."""

    share: np.ndarray  # [N], of their distance that is gone: 0 before, 1 where they are one latent
    value: np.ndarray  # [N], exact value of the policy, whose head is the same all along
    departure: np.ndarray  # [N], D_sup from the policy before


def merge(maze: MazeMDP, sure: float = 0.99, points: int = 201) -> Merging:
    """Moves the choice cells' latents ``z = 1`` and ``z = -1`` to ``0``, under a head that does not change.

    ``pi̅(up|z) = sigmoid(w z)``, else right, and at first ``sure`` of the right action in both; other cells go right.
    """
    share = np.linspace(0.0, 1.0, points)
    up_upper = 1.0 / (1.0 + np.exp(-np.log(sure / (1.0 - sure)) * (1.0 - share)))
    policies = np.repeat(maze.deterministic_policy()[None], points, 0)
    for name, up in (("upper_choice", up_upper), ("lower_choice", 1.0 - up_upper)):
        policies[:, maze.names.index(name), UP] = up
        policies[:, maze.names.index(name), RIGHT] = 1.0 - up
    value = np.array([maze.rho(policy) for policy in policies])
    return Merging(share, value, np.array([importance_ratios(policies[0], policy)[1] for policy in policies]))
