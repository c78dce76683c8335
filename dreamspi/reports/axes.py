"""Where an axis has its numbers, the same on the page and in the figures."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from dreamspi.reports.charts import Curves

#: Times that the largest number is the smallest on a logarithmic axis: below the first, numbers as on a linear one;
#: below the second, 1, 2 and 5; above it, powers of ten.
NARROW, WIDE = 6, 500


def span(chart: Curves) -> tuple[float, float]:
    """The smallest and the largest number that is drawn; on a logarithmic axis, of those above 0."""
    drawn = [part for line in chart.lines for part in (line.curve.estimate, line.curve.low, line.curve.high)]
    levels = [level for mark in chart.marks for level in (mark.low, mark.high) if level is not None]
    everything = np.concatenate([*drawn, levels])
    everything = everything[np.isfinite(everything) & ((everything > 0) | (not chart.log))]
    return (float(everything.min()), float(everything.max())) if everything.size else (0.0, 1.0)


def ticks(chart: Curves) -> list[float] | None:
    """Round numbers for a logarithmic axis with few powers of ten; None for any other, which the libraries do well."""
    low, high = span(chart)
    if not chart.log or not 0 < low < high < WIDE * low:
        return None
    if high > NARROW * low:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        everywhere = np.outer(powers, (1, 2, 5)).ravel()
        return [float(f"{place:g}") for place in everywhere if low / 2 <= place <= 2 * high]
    places = np.asarray(MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high))
    return places[places > 0].tolist()
