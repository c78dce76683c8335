"""docs/metrics.md has the names of all that is logged, and no others."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from dreamspi.catalogue import options
from dreamspi.metrics_file import STEP
from dreamspi.training import Training
from tests.runner.support import configured
from tests.support import ROOT

#: Each logs what the others don't.
RUNS = [
    *([f"planner={planner}"] for planner in options("planner")),
    *(["planner=hybrid", f"planner.neighborhood={form}"] for form in ("stop", "project")),
    ["planner=dreamspi", "world_model=ensemble"],
]


def documented() -> set[str]:
    """The names in the tables' first column. Of several in a row the later ones may leave out what they share with the
    one before: all up to the slash, or up to the last underscore."""
    names = set()
    for row in re.findall(r"^\| (`.+?) \|", (ROOT / "docs" / "metrics.md").read_text(), re.M):
        before = ""
        for name in re.findall(r"`(.+?)`", row):
            if name.startswith("_"):
                name = before.rpartition("_")[0] + name
            elif "/" not in name:
                name = before[: before.find("/") + 1] + name
            names.add(name)
            before = name
    return names


def logged(words: list[str], run_dir: Path) -> set[str]:
    """The names of rows with everything in them: games that end, rewards that differ and a model that has learnt of
    them, a certificate that holds."""
    maze = ["num_steps=16", "env.path_length=2", "env.max_steps=12", "gamma=0.5"]
    with closing(Training(configured(run_dir, *maze, *words, iterations=2))) as training:
        training.start()
        return {STEP, *training.iterate(), *training.iterate()}


def test_every_name_that_is_logged_is_documented_and_no_other(tmp_path: Path) -> None:
    assert set().union(*(logged(words, tmp_path) for words in RUNS)) == documented()
