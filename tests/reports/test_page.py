"""The page as text: what is in it, and that nothing from a file is taken for HTML."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dreamspi.reports import writing
from dreamspi.reports.building import build
from dreamspi.reports.charts import Curves, Group, Line, Report, Section
from dreamspi.reports.intervals import Curve
from dreamspi.reports.rendering import render
from tests.reports.synthetic import results
from tests.reports.synthetic import rough_intervals as rough_intervals

PAIR = ("ppo", "deepspi")
EVIL = "</script><script>alert(1)</script><b>&amp;"


class Tags(HTMLParser):
    """Start tags with their attributes, text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text += data


def data(page: str, id: str) -> dict:
    """The JSON of one of the page's scripts."""
    (found,) = re.findall(rf'<script type="application/json" id="{id}"[^>]*>(.*?)</script>', page, flags=re.S)
    return json.loads(found)


@pytest.fixture(scope="module")
def report() -> Report:
    return build(results(PAIR, ("maze", "minatar/breakout"), missing=[("maze", "ppo", 3)]))


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render(report, ("png", "pdf"), ("csv", "tex"))


def test_two_renders_are_equal(report: Report, page: str) -> None:
    assert render(report, ("png", "pdf"), ("csv", "tex")) == page
    again = build(results(PAIR, ("maze", "minatar/breakout"), missing=[("maze", "ppo", 3)]))
    assert render(again, ("png", "pdf"), ("csv", "tex")) == page


def test_it_needs_nothing_else(page: str) -> None:
    for tag, attributes in Tags(page).tags:
        assert not (tag in ("script", "img", "iframe") and "src" in attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
        if tag == "a":
            assert re.match(r"#|figures/|tables/", attributes["href"] or "")
    assert len(page) < 7_000_000


def test_every_section_is_linked_and_every_chart_has_its_place(report: Report, page: str) -> None:
    tags = Tags(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = {attributes["href"] for tag, attributes in tags if tag == "a"}
    assert {f"#{section.name}" for section in report.sections} <= links
    places = {attributes["id"] for _, attributes in tags if attributes.get("class") == "plot"}
    charts, clock = data(page, "charts"), data(page, "clock")
    assert places == set(charts) | set(clock["charts"])
    assert clock["moved"] and set(clock["moved"]) <= set(charts)


def test_files_that_it_links_to_are_there(tmp_path: Path) -> None:
    report = build(results(PAIR, ("maze",)))
    page = render(report, ("png", "pdf"), ("csv", "tex"))
    at = writing.write(report, tmp_path / "out", ("png", "pdf"))
    assert at.read_text(encoding="utf-8") == page
    linked = {attributes["href"] for tag, attributes in Tags(page).tags if tag == "a"}
    for link in linked:
        assert link and (link.startswith("#") or (at.parent / link).stat().st_size > 0)
    made = {
        str(path.relative_to(at.parent)) for folder in ("figures", "tables") for path in (at.parent / folder).iterdir()
    }
    assert made - linked == {f"figures/speed_learning_curves.{ending}" for ending in ("png", "pdf")}


def test_without_the_clocks_parts_the_machine_does_not_matter() -> None:
    def rest(factor: float) -> str:
        page = render(build(results(PAIR, ("maze",), seconds=factor)), ("png",), ("csv",))
        page = re.sub(r'<section id="speed" data-clock>.*?</section>', "", page, flags=re.S)
        return re.sub(r'<script type="application/json" id="clock" data-clock>.*?</script>', "", page)

    assert rest(1.0) == rest(5.0)


def test_what_comes_from_files_is_text() -> None:
    found = results((EVIL, "deepspi"), ("maze", f"other/{EVIL}"), name=EVIL, failed={("maze", "deepspi", 1): EVIL})
    runs = tuple(
        dataclasses.replace(
            run,
            settings=run.settings | {"planner.x": EVIL if run.cell.arm == EVIL else 1},
            summary=run.summary | {"git_revision": EVIL},
        )
        for run in found.runs
    )
    page = render(build(dataclasses.replace(found, runs=runs)), ("png",), ("csv",))
    tags = Tags(page)
    assert "<script>alert" not in page and not any(tag == "b" for tag, _ in tags.tags)
    assert [tag for tag, _ in tags.tags].count("script") == 4
    assert tags.text.count(EVIL) > 5
    data(page, "charts")


def test_one_arm_one_environment_one_seed() -> None:
    page = render(build(results(("deepspi",), ("maze",), (1,))), ("png",), ("csv",))
    assert 'id="improvement"' not in page and 'id="missing"' not in page and "n = 1, no interval" in page


def test_no_switch_without_a_clock() -> None:
    found = results(PAIR, ("maze",))
    runs = tuple(dataclasses.replace(run, curves=run.curves.drop(columns="time/seconds")) for run in found.runs)
    page = render(build(dataclasses.replace(found, runs=runs)), (), ())
    assert "data-axis=" not in page.partition("<noscript>")[0] and "figures/learning" not in page


def test_failures_are_listed(page: str) -> None:
    assert "maze-ppo-s3-0" in Tags(page).text and "not finished" in Tags(page).text
    missing = page.partition('<section id="missing"')[2].partition("</section>")[0]
    assert "deepspi" not in missing


def test_a_page_does_not_grow_with_every_game() -> None:
    def curves(count: int) -> Report:
        line = Line("ppo", Curve(*(np.linspace(0, 1, 1000) for _ in range(5))))
        charts = tuple(Curves(f"c-{k}", str(k), (line,), "y") for k in range(count))
        section = Section("curves", "Curves", groups=[Group("c", "Curves", charts)])
        return Report("many", "", [], ["ppo"], [], [section], [], "")

    few, many = (data(render(curves(count), (), ()), "charts") for count in (3, 750))
    assert len(few["c-0"]["data"][0]["x"]) == 150 and len(many["c-0"]["data"][0]["x"]) == 133
    assert len(data(render(curves(20), (), ()), "charts")) == 20
    assert "data-many" in render(curves(20), (), ()).partition('id="charts"')[0]
