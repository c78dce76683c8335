"""The published numbers that reports stand beside, from small CSV files in the package."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

_DATA = Path(__file__).parent / "data"


class Source(NamedTuple):
    """Where a number is from.

    Attributes:
        key: as in the ``source`` column of the other files.
        name: who made it, with what.
        protocol: how, where that matters for comparing.
        link: where to read on; may be empty.
    """

    key: str
    name: str
    protocol: str
    link: str


class Score(NamedTuple):
    """A published score of PPO in one Atari game.

    Attributes:
        game: as in ``env=atari/<game>``.
        source: key of its source.
        mean: raw return, over seeds.
        std: over the seeds.
        seeds: how many.
    """

    game: str
    source: str
    mean: float
    std: float
    seeds: int


def rows(name: str) -> list[dict[str, str]]:
    """The rows of ``data/<name>.csv``, as text."""
    with (_DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def sources() -> dict[str, Source]:
    """Every source, by key."""
    return {row["key"]: Source(**row) for row in rows("sources")}


def cite(key: str) -> str:
    """A source in sentences, with where to read on."""
    source = sources()[key]
    return f"{source.name}. {source.protocol}. {source.link}".strip()


@cache
def ppo_scores() -> dict[str, tuple[Score, ...]]:
    """PPO's published scores, by Atari game."""
    found: dict[str, tuple[Score, ...]] = {}
    for row in rows("ppo_atari"):
        score = Score(row["game"], row["source"], float(row["mean"]), float(row["std"]), int(row["seeds"]))
        found[score.game] = (*found.get(score.game, ()), score)
    return found
