"""Aggregates over environments and seeds with stratified bootstrap intervals, by rliable (Agarwal et al., 2021)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rliable import library, metrics

from dreamspi.reports.curves import Axis, end, held, seconds_grid, thinned, xs
from dreamspi.reports.intervals import CONFIDENCE, Curve, Interval
from dreamspi.reports.normalization import scale
from dreamspi.reports.results import Result, Results
from dreamspi.reports.scores import Matrix, scores

RESAMPLES = 2000


def iqm(values: np.ndarray) -> np.ndarray:
    """rliable's interquartile mean, the mean of the middle half: ``[seeds, environments, ...]`` -> ``[...]``.

    scipy's, which rliable calls, takes ten times as long, and the bootstrap calls it thousands of times.
    """
    flat = np.sort(values.reshape(-1, *values.shape[2:]), axis=0)
    cut = len(flat) // 4
    return flat[cut : len(flat) - cut].mean(axis=0)


#: Of the normalized scores of all environments and seeds; the optimality gap is the mean shortfall below 1.
AGGREGATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "IQM": iqm,
    "median": metrics.aggregate_median,
    "mean": metrics.aggregate_mean,
    "optimality gap": metrics.aggregate_optimality_gap,
}


def aggregates(
    results: Results, suite: str, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, Interval]]:
    """By arm, each of ``AGGREGATES`` over the suite's environments; what was left out, ``scores`` says.

    An arm with one seed has no intervals. ``seed`` is the bootstrap's: the same results give the same numbers.
    """
    found = {}
    for arm, matrix in scores(results, suite).matrices.items():
        curve = _estimated(matrix.scores, lambda x: np.array([f(x) for f in AGGREGATES.values()]), seed, resamples)
        found[arm] = {name: curve.at(index) for index, name in enumerate(AGGREGATES)}
    return found


def median(matrix: Matrix, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The median over environments of the mean over seeds, with its stratified interval."""
    return _estimated(matrix.scores, lambda x: np.array([metrics.aggregate_median(x)]), seed, resamples).at(0)


def profiles(
    results: Results, suite: str, taus: Sequence[float] | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Curve]:
    """By arm, the share of trainings with a normalized score above each of ``taus`` (the curve's ``x``).

    By default 101 thresholds from 0, or the lowest score below it, to 1, or the highest score above it.
    """
    matrices = scores(results, suite).matrices
    if not matrices:
        return {}
    everything = np.concatenate([matrix.scores.ravel() for matrix in matrices.values()])
    ends = min(everything.min(), 0.0), max(everything.max(), 1.0)
    x = np.linspace(*ends, 101) if taus is None else np.asarray(taus, dtype=float)
    return {
        arm: _estimated(matrix.scores, lambda s: (s[..., None] > x).mean((0, 1)), seed, resamples)._replace(x=x)
        for arm, matrix in matrices.items()
    }


def improvements(
    results: Results, suite: str, seed: int = 0, resamples: int = RESAMPLES
) -> dict[tuple[str, str], Interval]:
    """For every ordered pair of arms, the probability that a training of the first beats one of the second in the
    same environment, mean over environments; ties count half. ``n`` is the smaller number of seeds."""
    matrices = scores(results, suite).matrices
    if len(matrices) < 2:
        return {}
    # One bootstrap for all pairs: each of 55 arms with each would be 1,485 of them, and minutes.
    parts = [matrix.scores for matrix in matrices.values()]
    counts = np.array([len(part) for part in parts])
    n = np.minimum.outer(counts, counts).ravel()
    ends = _bootstrapped(parts, lambda *drawn: improvement(*drawn).ravel(), seed, resamples)
    low, high = np.where(n > 1, ends, math.nan)
    curve = Curve(np.arange(n.size), improvement(*parts).ravel(), low, high, n)
    both = enumerate(itertools.product(matrices, repeat=2))
    return {(a, b): curve.at(index) for index, (a, b) in both if a != b}


def improvement(*parts: np.ndarray) -> np.ndarray:
    """rliable's probability of improvement, P(x > y) + P(x = y) / 2, of each arm over each, ``[A, A]``; an arm is
    its scores ``[seeds, environments]``."""
    everything = np.concatenate(parts)
    above = (everything[:, None] > everything[None]).mean(-1)
    better = (above + 1.0 - above.T) / 2.0
    counts = np.array([len(part) for part in parts])
    starts = np.cumsum(counts) - counts
    return np.add.reduceat(np.add.reduceat(better, starts, 0), starts, 1) / np.outer(counts, counts)


def efficiency(
    results: Results, suite: str, axis: Axis = "steps", seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Curve]:
    """By arm, the IQM of normalized scores during training, at common environment steps or seconds.

    An arm's curve begins where each of its trainings has a score. Over steps it ends with the shortest of them; over
    seconds with the slowest, and a score holds once its training has ended: what is trained stays trained.
    """
    matrices = scores(results, suite).matrices
    runs = {arm: [run for row in matrix.runs for run in row] for arm, matrix in matrices.items()}
    if not runs:
        return {}
    if axis == "steps":
        grid = thinned(np.unique(np.concatenate([xs(run, axis) for of_arm in runs.values() for run in of_arm])))
    else:
        grid = seconds_grid(runs.values())
    curves = {arm: _efficiency(matrix, axis, grid, seed, resamples) for arm, matrix in matrices.items()}
    return {arm: curve for arm, curve in curves.items() if curve.x.size}


def _efficiency(matrix: Matrix, axis: Axis, grid: np.ndarray, seed: int, resamples: int) -> Curve:
    until = end((run for row in matrix.runs for run in row), axis)
    values = np.stack([[_normalized(run, axis, grid, until) for run in row] for row in matrix.runs])
    whole = ~np.isnan(values).any((0, 1))
    if not whole.any():
        return Curve(*(np.empty(0),) * 4, np.empty(0, dtype=int))
    curve = _estimated(values[..., whole], iqm, seed, resamples)
    return curve._replace(x=grid[whole])


def _normalized(run: Result, axis: Axis, grid: np.ndarray, until: float) -> np.ndarray:
    """The normalized score of a training at each point of the grid, ``[K]``."""
    measure = scale(run)
    assert measure is not None
    x, y = xs(run, axis), run.score_curve.to_numpy(dtype=float)
    known = np.isfinite(y)
    raw = held(x[known], y[known], grid, x[-1] if axis == "steps" else until)
    return (raw - measure.zero) / (measure.one - measure.zero)


def _estimated(values: np.ndarray, function: Callable[..., np.ndarray], seed: int, resamples: int) -> Curve:
    """A function ``-> [K]`` of scores ``[seeds, environments, ...]``, with stratified intervals.

    ``x`` is left as indices. No interval where the scores have a single seed: rliable's would have width zero.
    """
    estimate = np.asarray(function(values), dtype=float)
    n = len(values)
    low = high = np.full(estimate.shape, math.nan)
    if n > 1:
        low, high = _bootstrapped(values, function, seed, resamples)
    return Curve(np.arange(estimate.size), estimate, low, high, np.full(estimate.size, n))


def _bootstrapped(
    values: np.ndarray | list[np.ndarray], function: Callable[..., np.ndarray], seed: int, resamples: int
) -> np.ndarray:
    """Lower and upper ends, ``[2, K]``, of a function ``-> [K]`` of scores, or of several that are drawn apart."""
    with _seeded(seed):
        _, ends = library.get_interval_estimates(
            {"": values}, function, reps=resamples, confidence_interval_size=CONFIDENCE
        )
    return ends[""]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator with a seed, and as before afterwards: rliable draws from it, whatever it is told."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
