"""Charts as Plotly figures, for the page.

What belongs to an arm says so in its trace's ``meta.arm``, the arm's place: the page's script shows and hides by it.
Colors of text and grid are the page's, light or dark, and set by its script too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dreamspi.reports.axes import span, ticks
from dreamspi.reports.charts import MOST_POINTS, Chart, Curves, Dots, Line, Mark, thinned
from dreamspi.reports.colors import Style
from dreamspi.reports.intervals import Curve

#: Significant digits of what is drawn.
DIGITS = 5
#: Dashes that tell several curves of one arm apart, in the order of their kinds.
KIND_DASHES = ("solid", "dash", "dot", "dashdot")
#: Pixels: a chart of curves; a chart of dots, which grows by its rows.
HEIGHT, ROW, AROUND = 290, 30, 76


def figure(chart: Chart, styles: Mapping[str, Style], points: int = MOST_POINTS) -> dict[str, Any]:
    """A chart as Plotly's JSON, ``data`` and ``layout``; curves with so many points at most."""
    drawn = _curves(chart, styles, points) if isinstance(chart, Curves) else _dots(chart, styles)
    return drawn.to_plotly_json()


def height(chart: Chart) -> int:
    """Pixels."""
    return HEIGHT if isinstance(chart, Curves) else AROUND + ROW * len(chart.dots)


def clock(chart: Chart, unit: float = 1.0, points: int = MOST_POINTS) -> list[dict[str, Any]]:
    """What differs in each of the figure's traces if x is the clock, in ``unit`` seconds; empty where there is none."""
    if not isinstance(chart, Curves) or not chart.steps or any(line.clock is None for line in chart.lines):
        return []
    return [
        trace for line in chart.lines if line.clock is not None for trace in _on_clock(line, line.clock, unit, points)
    ]


def _on_clock(line: Line, clock: Curve, unit: float, points: int) -> list[dict[str, Any]]:
    anew = clock.estimate is not line.curve.estimate
    clock = thinned(clock, points)
    ends = (clock.low, clock.high) if line.has_interval else ()
    x = _numbers(clock.x / unit)
    return [{"x": x} | ({"y": _numbers(y)} if anew else {}) for y in (*ends, clock.estimate)]


def _curves(chart: Curves, styles: Mapping[str, Style], points: int) -> go.Figure:
    drawn = go.Figure(layout={"template": "none"})
    for line in chart.lines:
        drawn.add_traces(_line(line, styles[line.arm], chart.kinds, points))
    drawn.update_layout(
        height=height(chart),
        margin={"l": 58, "r": 12, "t": 8, "b": 46},
        showlegend=False,
        hovermode="x unified",
        xaxis={"title": {"text": _text(chart.x)}, "rangemode": "tozero" if chart.steps else "normal"},
        yaxis={"title": {"text": _text(chart.y)}, "type": "log" if chart.log else "linear"},
    )
    if chart.log:
        drawn.update_yaxes(exponentformat="power", dtick=1)
    if places := ticks(chart):
        drawn.update_yaxes(tickmode="array", tickvals=places, ticktext=[f"{place:g}" for place in places])
    if span(chart) == (0, 0):
        drawn.update_yaxes(range=(-0.05, 1))
    for mark in chart.marks:
        _mark(drawn, mark)
    return drawn


def _line(line: Line, style: Style, kinds: Sequence[str], points: int) -> list[go.Scatter]:
    """The curve, behind it the two ends of its interval with the band between them."""
    curve, name = thinned(line.curve, points), _text(f"{line.arm} {line.kind}".strip())
    dash = KIND_DASHES[kinds.index(line.kind) % len(KIND_DASHES)] if line.kind else style.dash[0]
    meta = {"arm": style.place, "n": [int(curve.n.min()), int(curve.n.max())]}
    traces = []
    if line.has_interval:
        edge = {"x": _numbers(curve.x), "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        traces.append(go.Scatter(y=_numbers(curve.low), meta=meta | {"end": "low"}, **edge))
        high = {"fill": "tonexty", "fillcolor": _transparent(style.color)}
        traces.append(go.Scatter(y=_numbers(curve.high), meta=meta | {"end": "high"}, **edge, **high))
    traces.append(
        go.Scatter(
            x=_numbers(curve.x),
            y=_numbers(curve.estimate),
            name=name,
            meta=meta | {"end": "line"},
            mode="lines" if len(curve.x) > 1 else "markers",
            line={"color": style.color, "width": 2, "dash": dash},
            marker={"color": style.color, "symbol": style.marker[0]},
        )
    )
    return traces


def _dots(chart: Dots, styles: Mapping[str, Style]) -> go.Figure:
    drawn = go.Figure(layout={"template": "none"})
    labels = [_text(dot.label) for dot in chart.dots]
    for dot, label in zip(chart.dots, labels, strict=True):
        style = styles[dot.arms[0]]
        estimate, low, high, n = dot.interval
        bar = {"type": "data", "symmetric": False, "thickness": 3, "width": 0, "color": style.color}
        ends = {"array": [_number(high - estimate)], "arrayminus": [_number(estimate - low)]}
        told = f"{dot.interval.text(4)}, n = {n}" if dot.interval.is_known else dot.interval.text(4)
        drawn.add_trace(
            go.Scatter(
                x=[_number(estimate)],
                y=[label],
                name=label,
                meta={"arms": [styles[arm].place for arm in dot.arms]},
                mode="markers",
                marker={"color": style.color, "symbol": style.marker[0], "size": 9},
                error_x=bar | ends if dot.interval.is_known else None,
                hovertemplate=f"%{{y}}<br>{told}<extra></extra>",
            )
        )
    drawn.update_layout(
        height=height(chart),
        margin={"l": 10, "r": 16, "t": 8, "b": 46},
        showlegend=False,
        hovermode="closest",
        xaxis={"title": {"text": _text(chart.x)}},
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": labels[::-1],
            "range": [-0.6, len(labels) - 0.4],
            "automargin": True,
            "fixedrange": True,
        },
    )
    for mark in chart.marks:
        drawn.add_vline(x=mark.low, line={"dash": "dot", "width": 1, "color": "#888"}, layer="below")
    return drawn


def _mark(drawn: go.Figure, mark: Mark) -> None:
    """Behind the curves; what it is called stands below the chart, where no curve covers it."""
    across = {"x0": 0, "x1": 1, "xref": "paper", "y0": mark.low, "layer": "below"}
    if mark.is_range:
        drawn.add_shape(type="rect", y1=mark.high, fillcolor="rgba(128,128,128,0.18)", line={"width": 0}, **across)
    else:
        drawn.add_shape(type="line", y1=mark.low, line={"dash": "dot", "width": 1.5, "color": "#888"}, **across)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    """As few characters as the eye can use; None for what JSON has no number for."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _text(text: str) -> str:
    """Plotly reads tags in its texts; those of names are none."""
    return html.escape(text, quote=False)


def _transparent(color: str) -> str:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
