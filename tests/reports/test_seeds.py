"""What is told of seeds that are missing."""

from __future__ import annotations

import math

from dreamspi.reports.intervals import Interval
from dreamspi.reports.seeds import shortfall, shortfalls
from tests.reports.synthetic import results

A, B = "minatar/asterix", "minatar/breakout"
SEEDS = (1, 2, 3, 4, 5)


def test_why_seeds_are_missing() -> None:
    found = results(
        ["ppo"], [A], SEEDS, failed={(A, "ppo", 1): "x", (A, "ppo", 2): "x"}, missing=[(A, "ppo", 3)],
        no_game=[(A, "ppo", 4)],
    )  # fmt: skip
    assert shortfall(found, [A], "ppo", 1) == "(1 of 5 seeds; 2 failed, 1 not finished, 1 without a value)"


def test_nothing_is_told_where_none_is() -> None:
    assert shortfall(results(["ppo"], [A], SEEDS), [A], "ppo", 5) == ""
    assert shortfall(results(["ppo"], [A], SEEDS), [A], "other", 0) == ""


def test_of_several_environments() -> None:
    found = results(["ppo"], [A, B], SEEDS, failed={(A, "ppo", 1): "x"}, missing=[(A, "ppo", 2), (B, "ppo", 1)])
    assert shortfall(found, [A, B], "ppo", 3) == "(3 of 5 seeds; 1 failed, 1 not finished)"


def test_an_arm_of_which_nothing_is_left() -> None:
    found = results(["ppo", "deepspi"], [A], SEEDS, failed={(A, "deepspi", seed): "x" for seed in SEEDS})
    known = {"ppo": Interval(1.0, math.nan, math.nan, 5)}
    assert shortfalls(found, [A], known) == {"deepspi": "(0 of 5 seeds; 5 failed)"}
