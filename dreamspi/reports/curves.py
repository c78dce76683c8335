"""Any metric of one environment during training, by arm, with intervals over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from dreamspi.errors import unknown
from dreamspi.reports.intervals import Curve, bootstrap_means
from dreamspi.reports.results import Result, Results, metric

Axis = Literal["steps", "seconds"]
#: The metric by which an environment's trainings are judged: ``Result.score_curve``.
SCORE = "score"
#: Points of a curve, at most.
MOST_POINTS = 200
#: Points in time for each arm.
POINTS_EACH = 51


def curves(results: Results, name: str, env: str, axis: Axis = "steps", seed: int = 0) -> dict[str, Curve]:
    """By arm, the mean over seeds of a metric with its percentile-bootstrap interval; arms without it are absent.

    Over steps, the grid is the steps at which any training of the environment logged the metric, thinned to
    ``MOST_POINTS``; where a seed has no value, a point rests on the others and its ``n`` says so. Over seconds, a
    value holds until the next, and the last one until the slowest seed of the arm has ended: what is trained stays
    trained. There an arm's curve begins when all its seeds have a value.

    Args:
        results: of the study.
        name: a column of ``metrics.csv``, or ``SCORE``.
        env: one of the study's environments.
        axis: what ``x`` is.
        seed: of the bootstrap.

    Raises:
        UserError: no such environment, or no training in it logged the metric; the message has near names.
    """
    if env not in results.environments:
        raise unknown("env", env, results.environments)
    if name != SCORE:
        metric(results.of(env), name)
    logged = {arm: [run for run in results.of(env, arm) if np.isfinite(_ys(run, name)).any()] for arm in results.arms}
    logged = {arm: runs for arm, runs in logged.items() if runs}
    if not logged:
        return {}
    if axis == "steps":
        everything = [xs(run, axis)[np.isfinite(_ys(run, name))] for runs in logged.values() for run in runs]
        grid = thinned(np.unique(np.concatenate(everything)))
    else:
        grid = seconds_grid(logged.values())
    return {arm: curve for arm, runs in logged.items() if (curve := _curve(runs, name, axis, grid, seed)).x.size}


def _curve(runs: list[Result], name: str, axis: Axis, grid: np.ndarray, seed: int) -> Curve:
    values = np.stack([_on_grid(run, name, axis, grid, end(runs, axis)) for run in runs])
    present = ~np.isnan(values)
    n = present.sum(axis=0)
    keep = n > 0 if axis == "steps" else n == len(runs)
    values, present, n, grid = values[:, keep], present[:, keep], n[keep], grid[keep]
    estimate, low, high = (np.full(grid.size, math.nan) for _ in range(3))
    for pattern in np.unique(present, axis=1).T:
        columns = (present == pattern[:, None]).all(axis=0)
        there = values[np.ix_(pattern, columns)]
        estimate[columns] = there.mean(axis=0)
        low[columns], high[columns] = bootstrap_means(there, seed)
    return Curve(grid.astype(float), estimate, low, high, n)


def _on_grid(run: Result, name: str, axis: Axis, grid: np.ndarray, until: float) -> np.ndarray:
    x, y = xs(run, axis), _ys(run, name)
    if axis == "steps":
        return held(x, y, grid, x[-1])
    return held(x[np.isfinite(y)], y[np.isfinite(y)], grid, until)


def _ys(run: Result, name: str) -> np.ndarray:
    if name == SCORE:
        return run.score_curve.to_numpy(dtype=float)
    if name not in run.curves:
        return np.full(len(run.curves), math.nan)
    return run.curves[name].to_numpy(dtype=float)


def xs(run: Result, axis: Axis) -> np.ndarray:
    """``[rows]``: environment steps or seconds at the rows of a training's ``metrics.csv``."""
    return (run.curves.index if axis == "steps" else run.seconds).to_numpy(dtype=float)


def end(runs: Iterable[Result], axis: Axis) -> float:
    """Where the last of some trainings ends on an axis."""
    return max(float(xs(run, axis)[-1]) for run in runs)


def seconds_grid(runs_by_arm: Iterable[Iterable[Result]]) -> np.ndarray:
    """Points in time for all arms: ``POINTS_EACH`` up to the end of each, so that a fast arm has enough of them."""
    return np.unique(np.concatenate([np.linspace(0.0, end(runs, "seconds"), POINTS_EACH) for runs in runs_by_arm]))


def held(x: np.ndarray, y: np.ndarray, grid: np.ndarray, until: float) -> np.ndarray:
    """The value of the last row at or before each point of the grid; NaN before the first row and after ``until``.

    Args:
        x: ``[rows]`` increasing.
        y: ``[rows]``.
        grid: ``[K]``.
        until: where it ends.
    """
    if not x.size:
        return np.full(grid.shape, math.nan)
    row = np.searchsorted(x, grid, side="right") - 1
    return np.where((row >= 0) & (grid <= until), y[np.maximum(row, 0)], math.nan)


def thinned(grid: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """At most so many of the points, evenly chosen; the first and the last among them."""
    if grid.size <= most:
        return grid
    return grid[np.unique(np.linspace(0, grid.size - 1, most).round().astype(int))]
