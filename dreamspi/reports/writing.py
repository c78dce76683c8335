"""A report's directory: the page, and beside it the figures and tables, each file either whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamspi.errors import NO_SPACE, UserError
from dreamspi.reports import figures
from dreamspi.reports.charts import Report
from dreamspi.reports.colors import styles
from dreamspi.reports.rendering import MARK, render
from dreamspi.run_directory import write_atomically

#: Characters at the beginning of a page, among which ``MARK`` is.
LOOKED_AT = 4096


def check(out: Path) -> None:
    """That a report may be written into a directory: it is not there, empty, or an earlier report's.

    Raises:
        UserError: something else lies there.
    """
    if out.is_dir() and any(out.iterdir()) and not _is_report(out):
        raise UserError(f"out={out}: exists already and is not a report's. Choose another directory.")


def write(report: Report, out: Path, formats: Sequence[str]) -> Path:
    """Writes ``index.html``, ``figures/`` and ``tables/``; returns the page's path.

    Args:
        report: what to write.
        out: the directory; made if it is not there. Figures and tables of an earlier report in it are taken away first:
            some may not be made any more.
        formats: endings of the figures' files.

    Raises:
        UserError: it can't be written there, or something else lies there.
    """
    page = out / "index.html"
    try:
        check(out)
        out.mkdir(parents=True, exist_ok=True)
        if not page.exists():  # until it is whole, so that the directory is known as a report's if this is cut short
            write_atomically(page, f"<!doctype html>\n{MARK}\n<title>A report that was not finished</title>\n")
        for folder in ("figures", "tables"):
            shutil.rmtree(out / folder, ignore_errors=True)
            (out / folder).mkdir()
        for path, content in _files(report, formats):
            write_atomically(out / path, content)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise UserError(f"out={out}: can't be written: {error.strerror}.") from error
    return page


def _is_report(out: Path) -> bool:
    """Whether a directory's page is one of ours, or it lies where a study's report does."""
    if out.name == "report" and (out.parent / "study.yaml").is_file():
        return True
    try:
        with (out / "index.html").open(encoding="utf-8", errors="replace") as file:
            return MARK in file.read(LOOKED_AT)
    except OSError:
        return False


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
