"""Charts as matplotlib figures."""

from __future__ import annotations

from dreamspi.reports import figures
from dreamspi.reports.axes import span, ticks
from dreamspi.reports.charts import Curves, Group, Line
from dreamspi.reports.colors import styles
from tests.reports.drawn import curve, curves, dots, group

STYLES = styles(("ppo", "deepspi"))


def test_formats() -> None:
    files = figures.draw(group(), STYLES)
    assert files["png"].startswith(b"\x89PNG") and files["pdf"].startswith(b"%PDF")
    assert figures.draw(group(), STYLES, ()) == {}


def test_the_same_figure_is_the_same_file() -> None:
    assert figures.draw(group(), STYLES) == figures.draw(group(), STYLES)
    assert b"CreationDate" not in figures.draw(group(), STYLES)["pdf"]


def test_dollars_and_underscores_in_names() -> None:
    names = ("a $b_{", "_c$")
    lines = tuple(Line(name, curve()) for name in names)
    assert figures.draw(Group("a", "", (Curves("a", "d $ e", lines, "y"),)), styles(names))["png"]


def test_many_charts_and_one() -> None:
    many = Group("many", "", tuple(curves(f"c{k}") for k in range(6)))
    assert figures.draw(many, STYLES, ("png",))["png"] and figures.draw(Group("one", "", (dots(),)), STYLES, ("png",))


def test_a_narrow_logarithmic_axis_has_round_numbers() -> None:
    narrow = curves(log=True)
    assert span(narrow) == (0.9, 2.5)
    found = ticks(narrow)
    assert found is not None and 3 < len(found) < 9 and min(found) > 0
    wide = Curves("w", "", (Line("ppo", curve()), Line("ppo", curve(scale=1000))), "y", log=True)
    assert ticks(wide) is None and ticks(curves()) is None
