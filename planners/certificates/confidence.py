"""What a mean of independent samples tells of the expectation: Hoeffding's inequality (1963), in three uses.

Each limit fails with probability at most ``p``, if no sample is larger than the largest that was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean, what to add to it for an upper confidence limit, and the largest value that was seen."""

    mean: float
    radius: float
    largest: float

    @property
    def upper(self) -> float:
        """Upper confidence limit."""
        return self.mean + self.radius


def hoeffding_radius(width: float, samples: int, p: float) -> float:
    """What to add to a mean of ``samples`` independent values from an interval of ``width`` so that the expectation
    is below the sum with probability at least ``1 - p``. Steps of one trajectory are not independent.

    Raises:
        ValueError: no sample, a negative ``width``, or ``p`` outside (0, 1).
    """
    if samples < 1 or width < 0.0 or not 0.0 < p < 1.0:
        raise ValueError(f"samples={samples}, width={width}, p={p}: at least 1, at least 0, and within (0, 1)")
    return width * math.sqrt(math.log(1.0 / p) / (2.0 * samples))


def mean(values: Sequence[float], p: float) -> Estimate:
    """Of independent values of at least 0."""
    largest = max(values)
    return Estimate(sum(values) / len(values), hoeffding_radius(largest, len(values), p), largest)


def mean_over_steps(sums: Sequence[float], lengths: Sequence[int], largest: float, p: float) -> Estimate:
    """Mean over all steps of independent units of unequal length: a quotient of two means.

    ``L = E[sum] / E[length]`` is the mean under the stationary distribution of a process that is made of such units.
    What Hoeffding's inequality speaks of is the unit's ``sum - L length``: its mean is 0, and it lies in an interval
    of width ``largest * max(lengths)``, as each step adds a number from ``[-L, largest - L]``. Hence ``L`` is below
    ``(mean sum + radius) / mean length``. For units of one length it is the plain radius.

    Args:
        sums: of each unit, over its steps, of numbers from ``[0, largest]``.
        lengths: steps of each unit.
        largest: the largest number that a step adds; ``L`` is not above it, either.
        p: failure probability.
    """
    total = sum(lengths)
    found = sum(sums) / total
    radius = hoeffding_radius(largest * max(lengths), len(lengths), p) * len(lengths) / total
    return Estimate(found, min(radius, max(largest - found, 0.0)), largest)
