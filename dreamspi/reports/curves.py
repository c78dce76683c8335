"""Any metric of one environment during training, by arm, with intervals over the seeds."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from dreamspi.errors import unknown
from dreamspi.reports.intervals import Curve, bootstrap_means
from dreamspi.reports.results import Result, Results, metric

Axis = Literal["steps", "seconds"]
#: The metric by which environments are judged: ``maze_value`` in the maze, ``train/return`` elsewhere.
SCORE = "score"
#: Points of a curve, at most.
MOST_POINTS = 200


def curves(results: Results, name: str, env: str, axis: Axis = "steps", seed: int = 0) -> dict[str, Curve]:
    """By arm, the mean over seeds of a metric with its percentile-bootstrap interval; arms without it are absent.

    Over steps, the grid is the steps at which any training of the environment logged the metric, thinned to
    ``MOST_POINTS``; where a seed has no value, a point rests on the others and its ``n`` says so. Over seconds, the
    grid is even, a value holds until the next, and an arm's curve covers the time in which all its seeds have one.

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
    everything = [run for runs in logged.values() for run in runs]
    if axis == "steps":
        grid = thinned(np.unique(np.concatenate([xs(run, axis)[np.isfinite(_ys(run, name))] for run in everything])))
    else:
        grid = np.linspace(0.0, max(last(run, axis) for run in everything), MOST_POINTS)
    return {arm: curve for arm, runs in logged.items() if (curve := _curve(runs, name, axis, grid, seed)).x.size}


def _curve(runs: list[Result], name: str, axis: Axis, grid: np.ndarray, seed: int) -> Curve:
    values = np.stack([_on_grid(run, name, axis, grid) for run in runs])
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


def _on_grid(run: Result, name: str, axis: Axis, grid: np.ndarray) -> np.ndarray:
    x, y = xs(run, axis), _ys(run, name)
    if axis == "seconds":
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    return held(x, y, grid)


def _ys(run: Result, name: str) -> np.ndarray:
    if name == SCORE:
        return run.score_curve.to_numpy(dtype=float)
    if name not in run.curves:
        return np.full(len(run.curves), math.nan)
    return run.curves[name].to_numpy(dtype=float)


def xs(run: Result, axis: Axis) -> np.ndarray:
    """``[rows]``: environment steps or seconds at the rows of a training's ``metrics.csv``."""
    return (run.curves.index if axis == "steps" else run.seconds).to_numpy(dtype=float)


def last(run: Result, axis: Axis) -> float:
    """Where a training ends on an axis."""
    return float(xs(run, axis)[-1])


def held(x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The value of the last row at or before each point of the grid; NaN before the first row and after the last.

    Args:
        x: ``[rows]`` increasing.
        y: ``[rows]``.
        grid: ``[K]``.
    """
    if not x.size:
        return np.full(grid.shape, math.nan)
    row = np.searchsorted(x, grid, side="right") - 1
    return np.where((row >= 0) & (grid <= x[-1]), y[np.maximum(row, 0)], math.nan)


def thinned(grid: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """At most so many of the points, evenly chosen; the first and the last among them."""
    if grid.size <= most:
        return grid
    return grid[np.unique(np.linspace(0, grid.size - 1, most).round().astype(int))]
