"""What may be said of a comparison."""

from __future__ import annotations

import math

import pandas as pd

from dreamspi.reports.findings import APART, MANY, among, compare, intervals
from dreamspi.reports.intervals import Interval

LOW, ALSO_LOW, HIGH = Interval(1, 0.9, 1.1, 3), Interval(1.05, 0.95, 1.2, 3), Interval(2, 1.9, 2.1, 3)
ALONE = Interval(5, math.nan, math.nan, 1)
TOUCHING = Interval(1.5, 1.2, 1.9, 3)


def test_intervals_apart_are_a_difference() -> None:
    assert compare({"a": LOW, "b": HIGH}) == "b 2.00 [1.90, 2.10] is above a 1.00 [0.900, 1.10]."
    assert compare({"a": LOW, "b": HIGH}, below="below") == "a 1.00 [0.900, 1.10] is below b 2.00 [1.90, 2.10]."


def test_intervals_that_overlap_are_none() -> None:
    said = compare({"a": LOW, "b": ALSO_LOW})
    assert said == "No difference that the data support: a 1.00 [0.900, 1.10], b 1.05 [0.950, 1.20]."
    assert compare({"a": ALSO_LOW, "b": TOUCHING}).startswith("No difference")


def test_some_apart_and_some_not() -> None:
    said = compare({"a": LOW, "b": ALSO_LOW, "c": HIGH})
    assert said.startswith("c 2.00 [1.90, 2.10] is above a 1.00 [0.900, 1.10] and b")
    assert said.endswith("Otherwise no difference that the data support.")
    assert "c 2.00 [1.90, 2.10] and d 2.00 [1.90, 2.10] are each above" in compare({"a": LOW, "c": HIGH, "d": HIGH})


def test_few_seeds_are_never_a_difference() -> None:
    few = HIGH._replace(n=2)
    said = compare({"a": LOW, "b": few, "c": ALONE})
    assert "is above" not in said and "Fewer than 3 seeds" in said and "c 5.00 (n = 1, no interval)" in said
    assert compare({"a": ALONE}).startswith("Fewer than 3 seeds")


def test_missing_seeds_stand_beside_what_is_left() -> None:
    short = {"b": "(3 of 5 seeds; 2 failed)", "c": "(0 of 5 seeds; 5 failed)"}
    said = compare({"a": LOW, "b": HIGH}, short=short)
    assert said == (
        "b 2.00 [1.90, 2.10] (3 of 5 seeds; 2 failed) is above a 1.00 [0.900, 1.10]. "
        "Nothing is known of c (0 of 5 seeds; 5 failed)."
    )
    assert "b 1.05 [0.950, 1.20] (3 of 5 seeds" in compare({"a": LOW, "b": ALSO_LOW}, short=short)


def test_of_many_arms_not_every_difference_is_told() -> None:
    many = {f"arm {i}": Interval(i, i - 0.7, i + 0.7, 3) for i in range(MANY + 1)}
    said = compare(many, short={"arm 0": "(3 of 5 seeds)"}, below="below")
    assert said == (
        "9 arms, from arm 8 8.00 [7.30, 8.70] down to arm 0 0 [-0.700, 0.700] (3 of 5 seeds); "
        "the intervals of 28 of their 36 pairs lie apart. The tables have each arm."
    )
    del many["arm 4"]
    assert "arm 8 8.00 [7.30, 8.70] is above arm 0" in compare(many)


def test_nothing_to_compare() -> None:
    assert compare({}) == "" and compare({"a": Interval(math.nan, math.nan, math.nan, 0)}) == ""
    assert compare({"a": LOW}) == "a 1.00 [0.900, 1.10]."


def test_intervals_from_a_table() -> None:
    frame = pd.DataFrame([{"environment": "maze", "arm": "a", **LOW._asdict()}])
    assert intervals(frame) == {"a": LOW}


def test_groups_are_compared_each_by_itself() -> None:
    found, short = {"a": LOW, "b": HIGH, "c": HIGH}, {"b": "(3 of 5 seeds)", "d": "(0 of 5 seeds)"}
    assert among(found, [("a", "b", "c")], short) == compare(found, short=short)
    assert among(found, [("a", "b"), ("c",)], short) == (
        "b 2.00 [1.90, 2.10] (3 of 5 seeds) is above a 1.00 [0.900, 1.10]. c 2.00 [1.90, 2.10]. "
        f"Nothing is known of d (0 of 5 seeds). {APART}"
    )
