"""Where an axis has its numbers, the same on the page and in the figures."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from dreamspi.reports.charts import Curves

#: A logarithmic axis from one number to so many times as much has hardly a power of ten on it.
NARROW = 20


def span(chart: Curves) -> tuple[float, float]:
    """The smallest and the largest number that is drawn; on a logarithmic axis, of those above 0."""
    drawn = [part for line in chart.lines for part in (line.curve.estimate, line.curve.low, line.curve.high)]
    levels = [level for mark in chart.marks for level in (mark.low, mark.high) if level is not None]
    everything = np.concatenate([*drawn, levels])
    everything = everything[np.isfinite(everything) & ((everything > 0) | (not chart.log))]
    return (float(everything.min()), float(everything.max())) if everything.size else (0.0, 1.0)


def ticks(chart: Curves) -> list[float] | None:
    """Round numbers for a narrow logarithmic axis; None for any other, which Plotly and matplotlib do well."""
    low, high = span(chart)
    if not chart.log or not 0 < low < high < NARROW * low:
        return None
    places = np.asarray(MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high))
    return places[places > 0].tolist()
