"""A weight that changes over training, as a function of its progress in [0, 1] (never of optimizer steps)."""

from __future__ import annotations

import math

from world_models.names import no_such

SHAPES = ("constant", "linear", "exponential")


class Schedule:
    """0 until the share ``start`` of training is done; then ``final``, at once or rising to it until the end.

    Args:
        shape: ``constant`` (at once), ``linear``, or ``exponential``: slowly first,
            ``(exp(rate x) - 1) / (exp(rate) - 1)`` of the way at the share x of what follows ``start``.
        start: share of training, in [0, 1).
        final: the value at the end of training, at least 0.
        rate: steepness of the exponential rise, above 0; the limit 0 is the linear one.
    """

    def __init__(self, shape: str = "constant", start: float = 0.0, final: float = 1.0, rate: float = 5.0) -> None:
        if shape not in SHAPES:
            raise no_such("shape", "planner.dream.beta.shape", shape, SHAPES)
        if not 0.0 <= start < 1.0:
            raise ValueError(f"planner.dream.beta.start={start}: a share of training, at least 0 and below 1")
        if final < 0.0:
            raise ValueError(f"planner.dream.beta.final={final}: a weight is at least 0")
        if rate <= 0.0:
            raise ValueError(f"planner.dream.beta.rate={rate}: the steepness of a rise is above 0")
        self.start, self.final = start, final
        rises = {
            "constant": lambda x: 1.0,
            "linear": lambda x: x,
            "exponential": lambda x: math.expm1(rate * x) / math.expm1(rate),
        }
        self.rise = rises[shape]

    def __call__(self, progress: float) -> float:
        """The weight when ``progress`` in [0, 1] of the training is done."""
        if progress < self.start:
            return 0.0
        return self.final * self.rise((progress - self.start) / (1.0 - self.start))
