"""How often what worker processes were at is handed out again when they die, and what signals do meanwhile."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from dreamspi.studies import launching
from dreamspi.studies.design import Arm, Cell, Design, cells
from dreamspi.studies.store import State, Study

SEEDS = 4


@pytest.fixture
def study() -> Study:
    design = Design({"maze": ()}, (Arm("ppo", ("planner=ppo",)),), range(SEEDS), ("threads=1",))  # type: ignore[arg-type]
    study = Study(Path("studies/x"), design, cells(design))
    study.save()
    return study


def dying(study: Study, each: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A launcher whose workers always die, and only every so many times after a cell was finished; returns how many
    cells it got each time."""
    got: list[int] = []

    def launched(config: Any, words: Sequence[str], left: Sequence[Cell]) -> None:
        got.append(len(left))
        if len(got) % each == 0:
            run = study.run_directory(left[0])
            run.mkdir()
            (run / "summary.json").write_text("{}")
        raise BrokenProcessPool

    monkeypatch.setattr(launching, "_launched", launched)
    return got


def test_a_cell_that_was_finished_makes_good_for_the_deaths_before(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got = dying(study, launching.ATTEMPTS - 1, monkeypatch)
    assert launching.launch(study, list(study.cells.values()), []) == 0
    assert len(got) == SEEDS * (launching.ATTEMPTS - 1) and got[-1] == 1
    assert set(study.states().values()) == {State.FINISHED}
    assert "given up" not in capsys.readouterr().err


def test_workers_that_die_and_finish_nothing_are_given_up(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got = dying(study, launching.ATTEMPTS + 1, monkeypatch)
    assert launching.launch(study, list(study.cells.values()), []) == 0
    assert got == [SEEDS] * launching.ATTEMPTS
    told = capsys.readouterr().err.splitlines()
    assert len(told) == launching.ATTEMPTS and all("goes on from the newest checkpoint" in line for line in told[:-1])
    assert told[-1].endswith("for the 5th time without a cell that was finished in between: given up.")


def test_a_second_signal_leaves_at_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one asks the trainings to save and leave, which they still do."""
    before = signal.getsignal(signal.SIGTERM)
    study.stop.parent.mkdir()
    monkeypatch.setattr(os, "_exit", lambda code: sys.exit(f"left with {code}"))
    with launching._signals(study) as got:
        assert not study.stop.exists()
        signal.raise_signal(signal.SIGTERM)
        assert got == [signal.SIGTERM] and study.stop.exists()
        with pytest.raises(SystemExit, match="left with 143"):
            signal.raise_signal(signal.SIGTERM)
        assert study.stop.exists()
    assert signal.getsignal(signal.SIGTERM) == before
