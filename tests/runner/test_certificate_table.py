"""The table of a certificate: what stands in place of a number, and what is told apart."""

from __future__ import annotations

from dataclasses import replace

from dreamspi.certificate_table import BOUNDS, told
from planners.certificates.assumptions import ALL
from planners.certificates.certificate import certify
from planners.certificates.evidence import Evidence
from tests.planners.certificates.evidence import END, EVIDENCE

FACTS = {"env": "maze", "world_model": "deterministic", "planner": "dreamspi", "seed": 0}
FACTS |= {"checkpoint": "x", "env_steps": 10, "progress": 0.5, "dreams": True}


def table(evidence: Evidence, **facts) -> list[str]:
    return told(FACTS | facts, certify(evidence)).splitlines()


def after(lines: list[str], words: str) -> str:
    """The line below the one that contains some words."""
    return lines[next(number for number, line in enumerate(lines) if words in line) + 1]


def test_every_bound_is_told() -> None:
    lines = table(EVIDENCE)
    assert set(BOUNDS) == set(ALL) - {"promised"}  # which whole episodes replace by that of the initial state
    assert all(any(what in line for line in lines) for what in BOUNDS.values())
    assert "says something (largest seen: 9); probability 95%; transition 57%" in after(
        lines, BOUNDS["value_difference_initial"]
    )
    assert "worst seen: -9" in after(lines, BOUNDS["promised_initial"])


def test_in_place_of_a_number_stands_what_fails() -> None:
    lines = table(replace(EVIDENCE, end=replace(END, D_sup=1.2)))
    assert after(lines, "Theorem 4").strip() == "fails: D < 1/gamma"
    assert "  FAILS  D < 1/gamma: measured D = 1.2000, 1/gamma = 1.1111" in lines


def test_what_only_the_paper_asks_for_stands_apart() -> None:
    lines = table(replace(EVIDENCE, C=1.3))
    apart = lines.index("asked by the paper; our forms do not need it")
    (row,) = (number for number, line in enumerate(lines) if line.startswith("  FAILS  C < 1/gamma"))
    assert row > apart


def test_without_a_dream_there_is_nothing_of_before() -> None:
    lines = table(replace(EVIDENCE, start=None, improvement=None), dreams=False)
    assert not any("before the dream" in line for line in lines) and ", without a dream" in lines[1]
    assert any(line.startswith("  dreamt      7.5   by the new policy") for line in lines)


def test_constants_by_construction_are_told_beside() -> None:
    lines = table(replace(EVIDENCE, by_construction=(None, 1.0)))
    assert any(line.startswith("  K_P 1   by construction, for each action") for line in lines)
    assert not any("by construction" in line for line in table(EVIDENCE))
