"""What 0 and 1 mean in each suite of environments, so that scores of several may be averaged."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import gymnasium

from dreamspi.reports.published import rows
from dreamspi.reports.results import Result

#: Suites whose games share the human-normalized score.
ATARI = ("atari", "atari_machado", "atari_stochastic")


class Scale(NamedTuple):
    """The two scores that a raw score is measured by.

    Attributes:
        zero: raw score that becomes 0.
        one: raw score that becomes 1; above ``zero``.
        kind: what 1 stands for: ``human``, ``published``, ``optimum`` or ``threshold``.
        source: key in ``published.sources()``.
    """

    zero: float
    one: float
    kind: str
    source: str

    def normalized(self, score: float) -> float:
        """``(score - zero) / (one - zero)``; not cut off at either end, NaN stays NaN."""
        return (score - self.zero) / (self.one - self.zero)


#: What a suite's 1 stands for, in words.
KINDS = {
    "human": "human-normalized: 0 random, 1 human",
    "published": "0 random, 1 a published strong agent",
    "optimum": "share of the exact optimum",
    "threshold": "0 random, 1 the registered reward threshold",
}


def suite(env: str) -> str:
    """The family of an environment: ``minatar`` of ``minatar/breakout``. Only scores of one suite are averaged."""
    return env.partition("/")[0]


def scale(result: Result) -> Scale | None:
    """What this training's score is measured by; ``None`` where nothing is known.

    Atari: random and human scores of the 57 games. MinAtar: random and published scores, see ``data/``. Maze: 0 and
    the exact optimum of this maze, for exact values. Gymnasium: the random score in ``data/`` and the reward threshold
    of the registry.
    """
    family, _, name = result.cell.env.partition("/")
    if family in ATARI:
        return _table("atari", "game", "human", "human").get(name)
    if family == "minatar":
        return _table("minatar", "game", "best", "published").get(name)
    if family == "maze":
        optimum = float(result.summary.get("maze_optimum", math.nan))
        return Scale(0.0, optimum, "optimum", "maze") if result.exact and optimum > 0 else None
    return _threshold(name) if family == "gym" else None


def unscaled(result: Result) -> str:
    """Why ``scale`` knows nothing for a training."""
    if suite(result.cell.env) == "gym":
        return "no random score, or no reward threshold, is known for it"
    if suite(result.cell.env) == "maze" and not result.exact:
        return "the optimum is an exact value, and not every training there has one"
    return "no reference score is known for it"


def normalized(result: Result) -> float:
    """The normalized final score; NaN where no game ended, or no scale is known."""
    found = scale(result)
    return found.normalized(result.score) if found else math.nan


@cache
def _table(file: str, key: str, one: str, kind: str) -> dict[str, Scale]:
    return {
        row[key]: Scale(float(row["random"]), float(row[one]), kind, row["source"]) for row in rows(file) if row[one]
    }


@cache
def _threshold(id: str) -> Scale | None:
    spec = gymnasium.registry.get(id.rpartition(":")[2])
    random = {row["id"]: float(row["random"]) for row in rows("gym")}
    if spec is None or spec.reward_threshold is None or spec.id not in random:
        return None
    zero, one = random[spec.id], float(spec.reward_threshold)
    return Scale(zero, one, "threshold", "gym_random") if one > zero else None
