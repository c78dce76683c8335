"""Numbers with their uncertainty: what every statistic of a report is told in, and when a difference is a win."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

#: Share of the bootstrap's distribution that an interval holds.
CONFIDENCE = 0.95
#: Below this many seeds no difference is called a win: with two, the intervals of equal arms lie apart once in three.
FEWEST_SEEDS = 3
#: By seeds: how often the interval of a mean holds the true one, and how often the intervals of two equal arms lie
#: apart, in percent; 20,000 draws from a normal distribution. Skewed scores do worse: 64% and 10% with three.
ACTUALLY = {2: (50, 33), 3: (75, 10), 4: (80, 7), 5: (84, 5), 10: (90, 2), 20: (93, 1)}


class Interval(NamedTuple):
    """An estimate and its 95% bootstrap interval.

    Attributes:
        estimate: NaN if there is nothing to estimate it from.
        low: lower end; NaN where there is no interval, which is so for ``n < 2``.
        high: upper end; NaN where ``low`` is.
        n: trainings with different seeds that it rests on; of an aggregate, in each environment.
    """

    estimate: float
    low: float
    high: float
    n: int

    @property
    def is_known(self) -> bool:
        """Whether there are a lower and an upper end."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def text(self, digits: int = 3) -> str:
        """``7.92 [7.81, 7.98]``, ``7.92 (n = 1, no interval)``, or an en dash, with so many significant digits."""
        if math.isnan(self.estimate):
            return "–"
        shown = number(self.estimate, digits)
        if not self.is_known:
            return f"{shown} (n = {self.n}, no interval)"
        return f"{shown} [{number(self.low, digits)}, {number(self.high, digits)}]"


class Curve(NamedTuple):
    """An estimate along an axis, point by point; all arrays are float64 of shape ``[K]``, ``n`` integer.

    Attributes:
        x: strictly increasing: environment steps, seconds, or thresholds.
        estimate: never NaN.
        low: NaN where ``n < 2``.
        high: NaN where ``n < 2``.
        n: trainings with different seeds that a point rests on (of an aggregate: in each environment), at least 1.
    """

    x: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray

    def at(self, index: int) -> Interval:
        """One point of it."""
        estimate, low, high = (float(values[index]) for values in (self.estimate, self.low, self.high))
        return Interval(estimate, low, high, int(self.n[index]))


class Verdict(StrEnum):
    """What may be said of ``a`` against ``b``."""

    HIGHER = "higher"
    LOWER = "lower"
    OPEN = "not separate"
    TOO_FEW = "too few seeds"


def verdict(a: Interval, b: Interval) -> Verdict:
    """``HIGHER`` or ``LOWER`` only if the intervals do not overlap; touching ends overlap.

    ``TOO_FEW`` if either rests on fewer than ``FEWEST_SEEDS`` seeds, or has no interval. Whether higher is better is
    the caller's to know.
    """
    if min(a.n, b.n) < FEWEST_SEEDS or not (a.is_known and b.is_known):
        return Verdict.TOO_FEW
    if a.low > b.high:
        return Verdict.HIGHER
    return Verdict.LOWER if a.high < b.low else Verdict.OPEN


def caution(seeds: int) -> str:
    """What to know before believing an interval that rests on so many seeds; empty where there is none."""
    if seeds < 2:
        return ""
    covered, apart = ACTUALLY[max(n for n in ACTUALLY if n <= seeds)]
    return (
        f"A bootstrap over few seeds is too sure of itself: with {seeds} seeds, its 95% interval of a mean in one "
        f"environment holds the true mean about {covered}% of the time, and the intervals of two equal arms lie apart "
        f"in about {apart}% of comparisons."
    )


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, and never an exponent: ``0.0123``, ``7.92``, ``12346``."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    if value == 0:
        return "0"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    shown = f"{value:.{decimals}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def bootstrap_mean(values: Sequence[float] | np.ndarray, seed: int = 0, resamples: int = 2000) -> Interval:
    """The mean of some seeds' values with its percentile-bootstrap interval; NaNs are left out.

    Args:
        values: ``[n]``.
        seed: of the resampling; the same values give the same interval.
        resamples: how many.
    """
    finite = np.asarray(values, dtype=float)
    finite = finite[~np.isnan(finite)]
    if finite.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    low, high = bootstrap_means(finite[:, None], seed, resamples)
    return Interval(float(finite.mean()), float(low[0]), float(high[0]), finite.size)


def bootstrap_means(values: np.ndarray, seed: int = 0, resamples: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile-bootstrap interval of the mean over the first axis: ``[n, K]`` finite -> two ``[K]``.

    NaN for ``n = 1``: resampling one value gives an interval of width zero, which would claim certainty.
    """
    n, points = values.shape
    if n < 2:
        return np.full(points, math.nan), np.full(points, math.nan)
    picks = np.random.default_rng(seed).integers(n, size=(resamples, n))
    weights = np.stack([np.bincount(row, minlength=n) for row in picks]) / n
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(weights @ values, [tail, 100 - tail], axis=0)
    return low, high


def cautions(intervals: Iterable[Interval]) -> tuple[str, ...]:
    """What the fewest seeds of a table ask for."""
    fewest = min((interval.n for interval in intervals if interval.n > 1), default=0)
    return (caution(fewest),) if 1 < fewest < 10 else ()
