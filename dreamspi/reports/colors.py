"""One color, dash and marker for each arm, the same in every chart; told apart by the color-blind, and in grey."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

#: Okabe and Ito's colors without black and yellow, which vanish on a dark and on a white page.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Plotly's names of dashes with matplotlib's; from one to the next where the colors are used up.
DASHES = (("solid", "-"), ("dash", "--"), ("dot", ":"), ("dashdot", "-."))
#: Plotly's names of markers with matplotlib's.
MARKERS = (("circle", "o"), ("square", "s"), ("diamond", "D"), ("triangle-up", "^"), ("x", "X"), ("cross", "P"))


class Style(NamedTuple):
    """How an arm is drawn.

    Attributes:
        place: its place among the arms.
        color: as ``#rrggbb``.
        dash, marker: Plotly's name, then matplotlib's.
    """

    place: int
    color: str
    dash: tuple[str, str]
    marker: tuple[str, str]


def styles(arms: Iterable[str]) -> dict[str, Style]:
    """The style of each arm, by its name."""
    return {arm: _style(index) for index, arm in enumerate(arms)}


def _style(index: int) -> Style:
    turn = index // len(COLORS)
    marker = MARKERS[(index + turn) % len(MARKERS)]
    return Style(index, COLORS[index % len(COLORS)], DASHES[turn % len(DASHES)], marker)
