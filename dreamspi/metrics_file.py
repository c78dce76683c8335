"""Reads ``metrics.csv``, and loads nothing else for it; ``dreamspi.metrics`` writes it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

#: Its first column.
STEP = "env_steps"
#: Whole games that ``train/return`` and ``train/length`` are means of, the last ones.
RECENT_GAMES = 100


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and whole rows of a ``metrics.csv``, as text; a last row cut short by a kill is left out."""
    if not path.exists():
        return [], []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    lines = list(csv.reader(io.StringIO(whole)))
    if not lines:
        return [], []
    columns = lines[0]
    return columns, [dict(zip(columns, line, strict=True)) for line in lines[1:] if len(line) == len(columns)]


def read_last_row(path: Path) -> dict[str, str]:
    """The last whole row of a ``metrics.csv``, as text; empty before the first."""
    _, rows = read_table(path)
    return rows[-1] if rows else {}
