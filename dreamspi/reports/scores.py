"""From a study's trainings to one matrix of normalized scores per arm, and what had to be left out for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from dreamspi.metrics_file import RECENT_GAMES
from dreamspi.reports.normalization import normalized, scale, suite, unscaled
from dreamspi.reports.results import EXACT, Result, Results

#: The share of a training that the games of its score may take before that is worth a word.
LONG = 0.25


class Matrix(NamedTuple):
    """The final scores of one arm, normalized, or whatever else was asked for.

    Attributes:
        seeds: of the rows, those that the arm has in every environment.
        environments: of the columns, the same for every arm.
        scores: float64 ``[seeds, environments]``, all finite.
        runs: the trainings, row by row.
    """

    seeds: tuple[int, ...]
    environments: tuple[str, ...]
    scores: np.ndarray
    runs: tuple[tuple[Result, ...], ...]


class Scores(NamedTuple):
    """All arms of a study in one suite, over the same environments.

    Attributes:
        environments: that every arm has a score in.
        matrices: by arm.
        messages: what was left out and why; one sentence each.
    """

    environments: tuple[str, ...]
    matrices: dict[str, Matrix]
    messages: tuple[str, ...]


def suites(results: Results) -> tuple[str, ...]:
    """The suites that the finished trainings are of, in order."""
    return tuple(dict.fromkeys(suite(env) for env in results.environments))


def measures(results: Results) -> list[str]:
    """What the scores are, in sentences."""
    told = [f"In {', '.join(results.exact)} a score is the exact value of the policy."] if results.exact else []
    others = [env for env in results.environments if env not in results.exact]
    if others:
        where = "Anywhere else" if results.exact else "Everywhere"
        told.append(f"{where} it is the mean raw return of the last {RECENT_GAMES} whole games of a training.")
    for env in others:
        if (share := max(map(_share, results.of(env)))) > LONG:
            told.append(
                f"{env}: those games take up to {min(share, 1):.0%} of a training, so that a score is of policies that "
                "were still learning. `dreamspi evaluate` tells the final one's."
            )
        without = [arm for arm in results.arms if any(EXACT not in run.summary for run in results.of(env, arm))]
        if any(EXACT in run.summary for run in results.of(env)):
            told.append(
                f"{env}: the exact value of {', '.join(without)} is not known, so there all arms are judged by their "
                "return, which is not discounted: no optimum to compare it with."
            )
    return told


def _share(run: Result) -> float:
    """The share of a training's steps in which the games of its score were played; 0 where none ended."""
    length = run.curves.get("train/length", pd.Series(dtype=float)).dropna()
    games = max(RECENT_GAMES, int(run.settings.get("num_envs", 1)))  # all copies' games go on at once
    return games * float(length.iloc[-1]) / run.cell.steps if len(length) else 0.0


def scores(results: Results, of: str, value: Callable[[Result], float] = normalized) -> Scores:
    """The matrices of a suite.

    An environment without a known scale is left out, and one in which some arm has no score, so that all arms are
    averaged over the same ones. Of an arm, only seeds that it has in all of them are used: the bootstrap draws the
    same number in each.

    Args:
        results: of the study.
        of: the suite.
        value: of a training; NaN if it has none.
    """
    messages: list[str] = []
    environments = [env for env in results.environments if suite(env) == of]
    known = [env for env in environments if value is not normalized or all(scale(run) for run in results.of(env))]
    messages += [f"{env}: left out, {unscaled(results.of(env)[0])}." for env in environments if env not in known]
    found = {(env, arm): _finite(results.of(env, arm), value, messages) for env in known for arm in results.arms}
    arms = [arm for arm in results.arms if any(found[env, arm] for env in known)]
    if known:
        messages += [f"{arm}: left out, it has no {_what(value)} in {of}." for arm in results.arms if arm not in arms]
    shared = []
    for env in known:
        lacking = [arm for arm in arms if not found[env, arm]]
        if lacking:
            messages.append(f"{env}: left out, {', '.join(lacking)} {_have(lacking)} no {_what(value)} there.")
        else:
            shared.append(env)
    matrices = {}
    for arm in arms:
        matrix = _matrix(arm, {env: found[env, arm] for env in shared}, value, messages)
        if matrix is not None:
            matrices[arm] = matrix
    if len(shared) == 1 and matrices:
        messages.append(f"{shared[0]} is the only environment: intervals are over its seeds alone.")
    return Scores(tuple(shared), matrices, tuple(messages))


def _finite(runs: list[Result], value: Callable[[Result], float], messages: list[str]) -> dict[int, Result]:
    """By seed, the trainings that have a score."""
    found = {}
    for run in runs:
        if math.isfinite(value(run)):
            found[run.cell.seed] = run
        elif value is normalized:
            where = f"{run.cell.env}, {run.cell.arm}, seed {run.cell.seed}"
            messages.append(f"{where}: no game ended in training, so it has no score.")
    return found


def _matrix(
    arm: str, runs: dict[str, dict[int, Result]], value: Callable[[Result], float], messages: list[str]
) -> Matrix | None:
    if not runs:
        return None
    common = sorted(set.intersection(*(set(by_seed) for by_seed in runs.values())))
    if not common:
        messages.append(f"{arm}: left out, no seed of it has a {_what(value)} in every environment.")
        return None
    for env, by_seed in runs.items():
        extra = sorted(set(by_seed) - set(common))
        if extra:
            numbers = ", ".join(map(str, extra))
            messages.append(f"{env}, {arm}: seed {numbers} not used, it is missing in another environment.")
    rows = tuple(tuple(by_seed[seed] for by_seed in runs.values()) for seed in common)
    values = np.array([[value(run) for run in row] for row in rows])
    return Matrix(tuple(common), tuple(runs), values, rows)


def _what(value: Callable[[Result], float]) -> str:
    return "score" if value is normalized else "value"


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
