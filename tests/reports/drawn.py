"""Small charts for the tests of what draws them."""

from __future__ import annotations

import math

import numpy as np

from dreamspi.reports.charts import Curves, Dot, Dots, Group, Line, Mark
from dreamspi.reports.intervals import Curve, Interval

NAN = math.nan


def curve(points: int = 3, n: int = 3, scale: float = 1.0) -> Curve:
    x = np.arange(1, points + 1) * 1000.0
    y = scale * np.linspace(1, 2, points)
    known = n > 1
    low, high = (y - 0.1 * scale, y + 0.1 * scale) if known else (np.full(points, NAN), np.full(points, NAN))
    return Curve(x, y, low, high, np.full(points, n))


def curves(name: str = "a", log: bool = False, arms: tuple[str, ...] = ("ppo", "deepspi"), **more: object) -> Curves:
    marks = (Mark("optimum", 2.5), Mark("C = 1.1", 0.9, 1.1))
    return Curves(name, "maze", tuple(Line(arm, curve()) for arm in arms), "return", marks=marks, log=log, **more)  # type: ignore[arg-type]


def dots(name: str = "b") -> Dots:
    known, alone = Interval(1.0, 0.8, 1.2, 3), Interval(2.0, NAN, NAN, 1)
    pair = Dot("deepspi over ppo", ("deepspi", "ppo"), known)
    return Dots(name, "maze", (Dot("ppo", ("ppo",), known), Dot("deepspi", ("deepspi",), alone), pair), "return")


def group() -> Group:
    return Group("both", "Both", (curves(), dots()))
