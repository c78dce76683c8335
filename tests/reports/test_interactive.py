"""Charts as Plotly figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dreamspi.reports import interactive
from dreamspi.reports.charts import MOST_POINTS, Curves, Line
from dreamspi.reports.colors import COLORS, styles
from tests.reports.drawn import NAN, curve, curves, dots

STYLES = styles(("ppo", "deepspi"))


def test_a_curve_is_its_interval_and_its_line() -> None:
    drawn = interactive.figure(curves(), STYLES)
    assert [trace["meta"]["end"] for trace in drawn["data"]] == ["low", "high", "line"] * 2
    low, high, line = drawn["data"][:3]
    assert (low["y"], high["y"], line["y"]) == ([0.9, 1.4, 1.9], [1.1, 1.6, 2.1], [1, 1.5, 2])
    assert high["fill"] == "tonexty" and line["line"]["color"] == COLORS[0]
    assert [trace["meta"]["arm"] for trace in drawn["data"]] == [0] * 3 + [1] * 3


def test_one_run_has_no_band() -> None:
    drawn = interactive.figure(Curves("a", "", (Line("ppo", curve(n=1)),), "y"), STYLES)
    assert [trace["meta"]["end"] for trace in drawn["data"]] == ["line"]


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    (_, _, line) = interactive.figure(Curves("a", "", (Line("ppo", curve(5000)),), "y"), STYLES)["data"]
    assert len(line["x"]) == MOST_POINTS and (line["x"][0], line["x"][-1]) == (1000, 5_000_000)


def test_missing_values_are_null() -> None:
    broken = curve()._replace(estimate=np.array([1.0, NAN, np.inf]))
    drawn = interactive.figure(Curves("a", "", (Line("ppo", broken),), "y"), STYLES)
    assert drawn["data"][2]["y"] == [1, None, None]
    json.dumps(drawn, allow_nan=False)


def test_kinds_are_dashes() -> None:
    lines = (Line("ppo", curve(n=1), "D_sup"), Line("ppo", curve(n=1), "D_inf"))
    drawn = interactive.figure(Curves("a", "", lines, "y"), STYLES)
    assert [trace["line"]["dash"] for trace in drawn["data"]] == ["solid", "dash"]


def test_names_are_no_tags() -> None:
    named = styles(("<b>x</b>",))
    drawn = interactive.figure(Curves("a", "", (Line("<b>x</b>", curve()),), "<i>y</i>"), named)
    assert drawn["data"][2]["name"] == "&lt;b&gt;x&lt;/b&gt;"
    assert drawn["layout"]["yaxis"]["title"]["text"] == "&lt;i&gt;y&lt;/i&gt;"


def test_dots_have_intervals_where_they_are_known() -> None:
    ppo, deepspi, pair = interactive.figure(dots(), STYLES)["data"]
    assert ppo["error_x"]["array"] == [pytest.approx(0.2)] and "error_x" not in deepspi
    assert "no interval" in deepspi["hovertemplate"] and "[0.8000, 1.200], n = 3" in ppo["hovertemplate"]
    assert pair["meta"]["arms"] == [1, 0]


def test_the_clock_moves_points_and_may_make_a_curve_anew() -> None:
    over_steps, over_time = curve(), curve(scale=2)
    moved = Line("ppo", over_steps, clock=over_steps._replace(x=np.array([60.0, 120, 180])))
    assert interactive.clock(Curves("a", "", (moved,), "y"), unit=60) == [{"x": [1, 2, 3]}] * 3
    anew = interactive.clock(Curves("a", "", (moved, Line("deepspi", over_steps, clock=over_time)), "y"))
    assert anew[5] == {"x": [1000, 2000, 3000], "y": [2, 3, 4]} and len(anew) == 6
    assert interactive.clock(curves()) == [] and interactive.clock(dots()) == []


def test_no_template_makes_the_page_large() -> None:
    assert len(json.dumps(interactive.figure(curves(), STYLES)["layout"])) < 2000


def test_colors_repeat_with_other_dashes() -> None:
    many = styles([f"arm {k}" for k in range(14)])
    looks = [(style.color, style.dash, style.marker) for style in many.values()]
    assert len(set(looks)) == 14
    assert many["arm 6"].color == many["arm 0"].color and many["arm 6"].dash != many["arm 0"].dash
