"""Numbers that change over training, as functions of its progress in [0, 1] (never of optimizer steps)."""

from __future__ import annotations

import math
from typing import Protocol


class Schedule(Protocol):
    """A number as a function of the share of training that is done."""

    def __call__(self, progress: float) -> float:
        """``progress`` in [0, 1]."""
        ...


class Constant:
    """The same ``value`` throughout."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def __call__(self, progress: float) -> float:
        return self.value


class LinearRise:
    """From 0 at the start to ``final`` at the end, in proportion to progress."""

    def __init__(self, final: float = 1.0) -> None:
        self.final = final

    def __call__(self, progress: float) -> float:
        return self.final * progress


class ExponentialRise:
    """From 0 to ``final``, slowly first: ``final (exp(rate progress) - 1) / (exp(rate) - 1)``.

    Args:
        final: the value at the end of training.
        rate: steepness, above 0; the limit 0 is the linear rise.
    """

    def __init__(self, final: float = 1.0, rate: float = 5.0) -> None:
        if rate <= 0:
            raise ValueError(f"planner.dream.beta.rate={rate}: the steepness of an exponential rise is above 0")
        self.final, self.rate = final, rate

    def __call__(self, progress: float) -> float:
        return self.final * math.expm1(self.rate * progress) / math.expm1(self.rate)
