"""A report's directory: the page, and beside it the figures and tables, each file either whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamspi.errors import UserError
from dreamspi.reports import figures
from dreamspi.reports.charts import Report
from dreamspi.reports.colors import styles
from dreamspi.reports.rendering import render
from dreamspi.run_directory import write_atomically


def write(report: Report, out: Path, formats: Sequence[str]) -> Path:
    """Writes ``index.html``, ``figures/`` and ``tables/``; returns the page's path.

    Args:
        report: what to write.
        out: the directory; made if it is not there.
        formats: endings of the figures' files.

    Raises:
        UserError: it can't be written there.
    """
    try:
        for folder in ("figures", "tables"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for path, content in _files(report, formats):
            write_atomically(out / path, content)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"out={out}: can't be written: {error.strerror}.") from error
    return out / "index.html"


def clear(out: Path) -> None:
    """Takes away the figures and tables of an earlier report, some of which may not be made any more."""
    for folder in ("figures", "tables"):
        shutil.rmtree(out / folder, ignore_errors=True)


def _files(report: Report, formats: Sequence[str]) -> Iterator[tuple[str, str | bytes]]:
    """By path. The page last: once it is there, all that it links to is."""
    colors = styles(report.arms)
    for group in (*(group for section in report.sections for group in section.groups), *report.extra):
        for ending, content in figures.draw(group, colors, formats).items():
            yield f"figures/{group.name}.{ending}", content
    for table in (table for section in report.sections for table in section.tables):
        yield f"tables/{table.name}.csv", table.csv()
        yield f"tables/{table.name}.tex", table.latex()
    yield "index.html", render(report, formats, ("csv", "tex"))
