"""Studies of trainings that take a moment."""

from __future__ import annotations

from dreamspi.metrics_file import read_table
from dreamspi.studies.store import Study
from tests.support import tiny


def words(*more: str, iterations: int = 4, checkpoint: int = 1) -> list[str]:
    """The words of a study in ``studies/x`` whose trainings are tiny; ``more`` add to them or replace them."""
    given = {word.partition("=")[0] for word in more}
    paces = {"iterations": iterations, "checkpoint": checkpoint}
    return [*tiny("name=x", "seeds=2", without={"seed", *given}, **paces), *more]


def records(study: Study) -> dict[str, list[dict[str, str]]]:
    """Of every cell the rows of its ``metrics.csv``, the clock's columns left out."""
    found = {}
    for cell in study.cells.values():
        _, rows = read_table(study.run_directory(cell) / "metrics.csv")
        found[cell.id] = [{key: text for key, text in row.items() if not key.startswith("time/")} for row in rows]
    return found
