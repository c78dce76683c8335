"""Studies of trainings that take a moment."""

from __future__ import annotations

from dreamspi.metrics_file import read_table
from dreamspi.studies.store import Study
from tests.runner.support import tiny


def words(*more: str, iterations: int = 4, checkpoint: int = 1) -> list[str]:
    """The words of a study in ``studies/x`` whose trainings are tiny; ``more`` add to them or replace them."""
    given = {word.partition("=")[0] for word in more}
    base = [word for word in tiny(iterations=iterations, checkpoint=checkpoint) if not word.startswith("seed=")]
    base = [*base, "name=x", "seeds=2"]
    return [*(word for word in base if word.partition("=")[0] not in given), *more]


def records(study: Study) -> dict[str, list[dict[str, str]]]:
    """Of every cell the rows of its ``metrics.csv``, the clock's columns left out."""
    found = {}
    for cell in study.cells.values():
        _, rows = read_table(study.run_directory(cell) / "metrics.csv")
        found[cell.id] = [{key: text for key, text in row.items() if not key.startswith("time/")} for row in rows]
    return found
