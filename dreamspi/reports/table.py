"""A table of a report: numbers for programs, text for readers, as CSV and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from dreamspi.reports.intervals import Interval

_ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"}
_ESCAPES |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_ESCAPES |= {"<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "±": r"$\pm$"}


class Table(NamedTuple):
    """One table.

    Attributes:
        name: of its files, such as ``scores``.
        title: one line.
        frame: one row a fact, numbers as numbers: what the CSV file holds. Intervals are four columns, ``estimate``,
            ``low``, ``high`` and ``n``.
        shown: the same for readers, all text: what the page and LaTeX show.
        notes: what to know to read it; sentences.
        timed: it is the clock's, and differs between two runs of the same study. No other table does.
    """

    name: str
    title: str
    frame: pd.DataFrame
    shown: pd.DataFrame
    notes: tuple[str, ...] = ()
    timed: bool = False

    def csv(self) -> str:
        """The frame, with every digit; missing values are empty."""
        return self.frame.to_csv(index=False, lineterminator="\n")

    def latex(self) -> str:
        """A ``table`` environment with caption, label ``tab:<name>`` and notes; it needs the package booktabs."""
        lines = [" & ".join(map(escaped, row)) + r" \\" for row in (self.shown.columns, *self.shown.itertuples(False))]
        notes = [rf"\par\footnotesize {escaped(note)}" for note in self.notes]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{escaped(self.title)}}}",
                rf"\label{{tab:{self.name}}}",
                rf"\begin{{tabular}}{{{'l' * self.shown.shape[1]}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                *notes,
                r"\end{table}",
                "",
            ]
        )


def escaped(value: object) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_ESCAPES.get(character, character) for character in str(value))


def long(rows: Iterable[tuple[Mapping[str, object], Interval]]) -> pd.DataFrame:
    """One row for each interval: the columns that say of what, then ``estimate``, ``low``, ``high``, ``n``."""
    return pd.DataFrame([{**of, **interval._asdict()} for of, interval in rows])


def crossed(
    cells: Mapping[tuple[str, str], Interval], corner: str, beside: Mapping[tuple[str, str], str] | None = None
) -> pd.DataFrame:
    """Intervals by (row, column) as text, rows and columns in order of appearance, the rows' names under ``corner``;
    ``beside`` is what stands beside some of them, or instead of one."""
    beside = beside or {}
    rows = dict.fromkeys(row for row, _ in cells)
    columns = dict.fromkeys(column for _, column in cells)
    text = {at: f"{interval.text()} {beside.get(at, '')}".rstrip() for at, interval in cells.items()}
    found = [[row, *(text.get((row, c)) or beside.get((row, c), "–") for c in columns)] for row in rows]
    return pd.DataFrame(found, columns=[corner, *columns], dtype=object)
