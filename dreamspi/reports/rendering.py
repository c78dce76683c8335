"""The report's page: one HTML file that needs nothing else, and that is the same whenever it is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline

from dreamspi.reports import interactive
from dreamspi.reports.charts import MOST_POINTS, Chart, Curves, Dots, Group, Report, Section
from dreamspi.reports.colors import styles
from dreamspi.reports.table import Table

PAGE = Path(__file__).with_name("page")
#: In the head of every page: a directory with such a page is a report's.
MARK = '<meta name="generator" content="dreamspi report">'
#: Charts of one group that a page opens with; more are folded away under their heading.
MANY = 9
#: Tables that are folded away, as a reader looks up one row of them, and rows from which any is.
LOOKED_UP, LONG = ("pairs", "loss_pairs"), 60
#: Points of all curves of a page together, about, and of one curve at least: a page must not grow with every game.
POINTS, FEWEST_POINTS = 100_000, 25
#: Seconds and what they are called; a clock's axis has the first that its numbers are small in.
UNITS = ((1, "seconds"), (60, "minutes"), (3600, "hours"))


def render(report: Report, figures: Sequence[str], tables: Sequence[str]) -> str:
    """The page.

    Args:
        report: what it shows.
        figures, tables: endings of the files that lie beside it, in ``figures`` and ``tables``, to link to.
    """
    colors = styles(report.arms)
    charts, timed = (
        [c for section in report.sections if section.clock is clock for group in section.groups for c in group.charts]
        for clock in (False, True)
    )
    curves = sum(len(chart.lines) for chart in charts if isinstance(chart, Curves))
    points = min(max(POINTS // max(curves, 1), FEWEST_POINTS), MOST_POINTS)
    clock = _clock(charts, points) | {"charts": {chart.name: interactive.figure(chart, colors) for chart in timed}}
    template = _environment().get_template("page.html")
    return template.render(
        title=report.title,
        mark=MARK,
        lead=report.lead,
        facts=report.facts,
        footer=report.footer,
        arms=[{"name": arm, "place": s.place, "color": s.color, "dash": s.dash[0]} for arm, s in colors.items()],
        sections=[_section(section, figures, tables) for section in report.sections],
        charts=_json({chart.name: interactive.figure(chart, colors, points) for chart in charts}),
        clock=_json(clock),
        has_clock=bool(clock["moved"]),
        css=(PAGE / "page.css").read_text(encoding="utf-8").strip(),
        js=(PAGE / "page.js").read_text(encoding="utf-8").strip(),
        plotly=plotly.offline.get_plotlyjs().replace("</script", "<\\/script"),
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


def _section(section: Section, figures: Sequence[str], tables: Sequence[str]) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "text": section.text,
        "warnings": section.warnings,
        "items": section.items,
        "clock": section.clock,
        "groups": [_group(group, figures) for group in section.groups],
        "tables": [_table(table, tables) for table in section.tables],
    }


def _group(group: Group, endings: Sequence[str]) -> dict[str, Any]:
    return {
        "title": group.title,
        "text": group.text,
        "many": len(group.charts) > MANY,
        "dots": all(isinstance(chart, Dots) for chart in group.charts),
        "files": [(ending.upper(), f"figures/{group.name}.{ending}") for ending in endings],
        "charts": [
            {"name": c.name, "title": c.title, "height": interactive.height(c), "keys": _keys(c)} for c in group.charts
        ],
    }


def _keys(chart: Chart) -> list[dict[str, str]]:
    """What the dashes of several curves of one arm mean, and grey levels and ranges."""
    kinds = chart.kinds if isinstance(chart, Curves) else ()
    dashes = zip(kinds, interactive.KIND_DASHES, strict=False) if len(kinds) > 1 else ()
    marks = [{"name": mark.label, "look": "range" if mark.is_range else "level"} for mark in chart.marks]
    return [{"name": kind, "look": dash} for kind, dash in dashes] + marks


def _table(table: Table, endings: Sequence[str]) -> dict[str, Any]:
    return {
        "title": table.title,
        "notes": table.notes,
        "long": table.name in LOOKED_UP or len(table.shown) > LONG,
        "columns": [str(column) for column in table.shown.columns],
        "rows": table.shown.astype(object).to_numpy().tolist(),
        "files": [(ending.upper(), f"tables/{table.name}.{ending}") for ending in endings],
    }


def _clock(charts: Sequence[Chart], points: int) -> dict[str, Any]:
    """What the clock makes of each chart's traces, and what the axis is called then."""
    lines = [line for chart in charts if isinstance(chart, Curves) for line in chart.lines]
    longest = max((float(line.clock.x[-1]) for line in lines if line.clock and len(line.clock.x)), default=0.0)
    unit, called = next(((u, name) for u, name in UNITS if longest < 200 * u), UNITS[-1])
    found = {chart.name: places for chart in charts if (places := interactive.clock(chart, unit, points))}
    return {"title": f"{called} of training", "moved": found}


def _json(content: object) -> str:
    """JSON that may stand in a script: no tag can begin in it."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
