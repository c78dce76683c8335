"""Charts as matplotlib figures, for papers: PNG and PDF, the same bytes whenever they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, StrMethodFormatter

from dreamspi.reports.axes import ticks
from dreamspi.reports.charts import Chart, Curves, Dots, Group, Mark, thinned
from dreamspi.reports.colors import Style

#: Endings of the files that can be made.
FORMATS = ("png", "pdf")
#: Inches: a chart's width, the height of curves, of a row of dots, around rows; charts beside one another.
WIDTH, HEIGHT, ROW, AROUND, ACROSS = 2.9, 2.2, 0.22, 0.65, 4
#: Letters stay letters in the PDF; no dates, so that the same figure is the same file.
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "text.usetex": False,
}
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "ModDate": None}}
KIND_DASHES = ("-", "--", ":", "-.")


def draw(group: Group, styles: Mapping[str, Style], formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The figure of a group, as the content of a file for each format."""
    with matplotlib.rc_context(STYLE):
        figure = _figure(group, styles)
        files = {}
        for ending in formats:
            content = BytesIO()
            figure.savefig(content, format=ending, dpi=160, metadata=METADATA[ending])
            files[ending] = content.getvalue()
    return files


def _figure(group: Group, styles: Mapping[str, Style]) -> Figure:
    across = min(len(group.charts), ACROSS)
    rows = math.ceil(len(group.charts) / across)
    height = max(_height(chart) for chart in group.charts)
    handles = _legend(group, styles)
    figure = Figure(figsize=(max(WIDTH * across, 3.6), height * rows + 0.3 * bool(handles)), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False).flatten()
    for axis, chart in zip(axes, group.charts, strict=False):
        if isinstance(chart, Curves):
            _curves(axis, chart, styles)
        else:
            _dots(axis, chart, styles)
        axis.set_title(_text(chart.title))
    for axis in axes[len(group.charts) :]:
        axis.set_axis_off()
    if handles:
        columns = math.ceil(len(handles) / math.ceil(len(handles) / (2 * across + 1)))
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=1.8)
    return figure


def _height(chart: Chart) -> float:
    return HEIGHT if isinstance(chart, Curves) else AROUND + ROW * max(len(chart.dots), 3)


def _legend(group: Group, styles: Mapping[str, Style]) -> list[Artist]:
    """The arms that have curves, what the dashes of one arm's curves mean, and what is grey; dots name themselves."""
    drawn = [chart for chart in group.charts if isinstance(chart, Curves)]
    arms = [arm for arm in styles if any(line.arm == arm for chart in drawn for line in chart.lines)]
    handles: list[Artist] = [
        Line2D([], [], color=styles[arm].color, ls=styles[arm].dash[1], label=_text(arm)) for arm in arms
    ]
    kinds = list(dict.fromkeys(kind for chart in drawn for kind in chart.kinds))
    if len(kinds) > 1:
        dashes = zip(kinds, KIND_DASHES, strict=False)
        handles += [Line2D([], [], color="0.4", ls=dash, label=_text(kind)) for kind, dash in dashes]
    for mark in dict.fromkeys(mark for chart in group.charts for mark in chart.marks):
        label = _text(mark.label)
        line = Line2D([], [], color="0.5", ls=":", lw=1, label=label)
        handles.append(Patch(color="0.5", alpha=0.15, lw=0, label=label) if mark.is_range else line)
    return list({handle.get_label(): handle for handle in handles}.values())


def _curves(axis: Axes, chart: Curves, styles: Mapping[str, Style]) -> None:
    for mark in chart.marks:
        _mark(axis, mark)
    for line in chart.lines:
        style = styles[line.arm]
        dash = KIND_DASHES[chart.kinds.index(line.kind) % len(KIND_DASHES)] if line.kind else style.dash[1]
        curve = thinned(line.curve)
        if line.has_interval:
            axis.fill_between(curve.x, curve.low, curve.high, color=style.color, alpha=0.18, lw=0)
        alone = "o" if len(curve.x) == 1 else None
        axis.plot(curve.x, curve.estimate, color=style.color, ls=dash, marker=alone, ms=4)
    if chart.log:
        axis.set_yscale("log")
    if places := ticks(chart):
        axis.yaxis.set_major_locator(FixedLocator(places))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
    if chart.steps:
        axis.set_xlim(left=0)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.set_xlabel(_text(chart.x))
    axis.set_ylabel(_text(chart.y))


def _mark(axis: Axes, mark: Mark) -> None:
    if mark.high is None:
        axis.axhline(mark.low, color="0.5", ls=":", lw=1)
    else:
        axis.axhspan(mark.low, mark.high, color="0.5", alpha=0.15, lw=0)


def _dots(axis: Axes, chart: Dots, styles: Mapping[str, Style]) -> None:
    for mark in chart.marks:
        axis.axvline(mark.low, color="0.5", ls=":", lw=1)
    rows = range(len(chart.dots) - 1, -1, -1)
    for row, dot in zip(rows, chart.dots, strict=True):
        style = styles[dot.arms[0]]
        if dot.interval.is_known:
            axis.plot(
                (dot.interval.low, dot.interval.high), (row, row), color=style.color, lw=2.2, solid_capstyle="butt"
            )
        axis.plot(dot.interval.estimate, row, color=style.color, marker=style.marker[1], ms=4.5)
    axis.set_yticks(list(rows), [_text(dot.label) for dot in chart.dots])
    axis.set_ylim(-0.6, len(chart.dots) - 0.4)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(_text(chart.x))


def _text(text: str) -> str:
    """matplotlib reads formulas between dollars; those of names are none."""
    return text.replace("$", r"\$")
