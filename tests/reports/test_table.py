"""Tables as files: what LaTeX and CSV get."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from dreamspi.reports.intervals import Interval
from dreamspi.reports.table import Table, crossed, escaped, long

NAN = float("nan")


@pytest.fixture
def table() -> Table:
    cells = {("a_b", "ppo"): Interval(1 / 3, 0.25, 0.5, 3), ("c", "50% & more"): Interval(-20.45, NAN, NAN, 1)}
    frame = long(({"environment": env, "arm": arm}, interval) for (env, arm), interval in cells.items())
    return Table("made_up", "Scores & such", frame, crossed(cells, "environment"), ("100% made up.",))


def test_csv_keeps_every_digit(table: Table) -> None:
    back = pd.read_csv(io.StringIO(table.csv()))
    pd.testing.assert_frame_equal(back, table.frame)
    assert back["estimate"][0] == 1 / 3


def test_latex_is_escaped_and_uses_booktabs(table: Table) -> None:
    assert table.latex() == (
        "\\begin{table}\n\\centering\n\\caption{Scores \\& such}\n\\label{tab:made_up}\n\\begin{tabular}{lll}\n"
        "\\toprule\nenvironment & ppo & 50\\% \\& more \\\\\n\\midrule\n"
        "a\\_b & 0.333 [0.250, 0.500] & -- \\\\\nc & -- & -20.4 (n = 1, no interval) \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\par\\footnotesize 100\\% made up.\n\\end{table}\n"
    )


def test_every_character_that_latex_would_read_is_escaped() -> None:
    assert escaped(r"\{}^~<#$") == (r"\textbackslash{}\{\}\textasciicircum{}\textasciitilde{}\textless{}\#\$")
    assert escaped("20 ± 1") == r"20 $\pm$ 1"


def test_what_stands_beside_a_number_or_instead_of_it() -> None:
    cells = {("maze", "ppo"): Interval(1.0, 0.5, 1.5, 3), ("pong", "mine"): Interval(2.0, 1.5, 2.5, 5)}
    beside = {("maze", "ppo"): "(3 of 5 seeds; 2 failed)", ("maze", "mine"): "(0 of 5 seeds; 5 failed)"}
    shown = crossed(cells, "environment", beside).set_index("environment")
    assert shown.loc["maze"].tolist() == ["1.00 [0.500, 1.50] (3 of 5 seeds; 2 failed)", "(0 of 5 seeds; 5 failed)"]
    assert shown.loc["pong"].tolist() == ["–", "2.00 [1.50, 2.50]"]
