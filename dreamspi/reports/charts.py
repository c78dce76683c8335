"""What a report draws, free of any drawing library: the page hands it to Plotly, the figures to matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dreamspi.reports.curves import thinned as thinned_grid
from dreamspi.reports.intervals import Curve, Interval
from dreamspi.reports.table import Table

#: Points of a curve that a chart can show; more would only make the page larger.
MOST_POINTS = 150


class Line(NamedTuple):
    """One curve of one arm.

    Attributes:
        arm: whose.
        curve: the curve.
        kind: what tells it from another curve of the same arm in the same chart, such as ``D_inf``.
        clock: the same over seconds of training, if it may be shown on the clock: with as many points, or made anew.
    """

    arm: str
    curve: Curve
    kind: str = ""
    clock: Curve | None = None

    @property
    def has_interval(self) -> bool:
        """Whether an interval is known anywhere along it."""
        return bool(np.isfinite(self.curve.low).any())


def thinned(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """The same curve with so many points at most, the first and the last among them."""
    kept = thinned_grid(np.arange(len(curve.x)), most)
    return Curve(*(values[kept] for values in curve))


class Mark(NamedTuple):
    """A level that curves are compared with, or a range between two."""

    label: str
    low: float
    high: float | None = None

    @property
    def is_range(self) -> bool:
        """Whether it is a range."""
        return self.high is not None


@dataclass(frozen=True)
class Curves:
    """Curves over one pair of axes.

    Attributes:
        name: names the chart in the page; letters, digits, ``-`` and ``_``.
        title: what tells it from its neighbors, mostly the environment.
        lines: the curves.
        x, y: what the axes show.
        marks: levels and ranges, behind the curves.
        log: whether y is logarithmic.
        steps: whether x is environment steps.
    """

    name: str
    title: str
    lines: tuple[Line, ...]
    y: str
    x: str = "environment steps"
    marks: tuple[Mark, ...] = ()
    log: bool = False
    steps: bool = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """What tells several curves of one arm apart; a dash each."""
        return tuple(dict.fromkeys(line.kind for line in self.lines if line.kind))


class Dot(NamedTuple):
    """An estimate with its interval.

    Attributes:
        label: its row.
        arms: whom it is about; the first gives the color.
        interval: the estimate.
    """

    label: str
    arms: tuple[str, ...]
    interval: Interval


@dataclass(frozen=True)
class Dots:
    """Estimates with their intervals, one a row.

    Attributes:
        name: names the chart in the page.
        title: what tells it from its neighbors.
        dots: the rows, from top to bottom.
        x: what the axis shows.
        marks: levels that they are compared with.
    """

    name: str
    title: str
    dots: tuple[Dot, ...]
    x: str
    marks: tuple[Mark, ...] = ()


Chart = Curves | Dots


@dataclass(frozen=True)
class Group:
    """Charts of one quantity side by side: one heading of the page, one figure file.

    Attributes:
        name: the figure file's, without its ending.
        title: the heading.
        charts: mostly one an environment.
        text: how to read it.
    """

    name: str
    title: str
    charts: tuple[Chart, ...]
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: its anchor in the page.
        title: its heading.
        text: how to read it, a paragraph each.
        groups: its charts.
        tables: its tables.
        warnings: what a reader must not overlook.
        items: a list, each a heading and a text.
        clock: whether it depends on the clock, so that it differs between two runs of one study.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    groups: Sequence[Group] = ()
    tables: Sequence[Table] = ()
    warnings: Sequence[str] = ()
    items: Sequence[tuple[str, str]] = ()
    clock: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything in it: a section without data is left out."""
        return bool(self.groups or self.tables or self.warnings or self.items)


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes:
        title: the study's name.
        lead: what was compared, in a sentence.
        facts: names and values, for the head of the page.
        arms: what is compared, in the order of their colors.
        findings: what the intervals support, each a heading and a text.
        sections: its parts.
        extra: figures that the page doesn't show.
        footer: what made it.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    arms: Sequence[str]
    findings: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    extra: Sequence[Group]
    footer: str
