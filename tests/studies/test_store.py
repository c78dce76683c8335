"""A study's directory: what is in it, how far each cell is, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dreamspi.errors import UserError
from dreamspi.studies.design import Arm, Design, cells
from dreamspi.studies.store import State, Study

PATH = Path("studies/x")
DESIGN = Design({"maze": ()}, (Arm("ppo", ("planner=ppo",)),), (1, 2))


def extended(*fixed: str, seeds: tuple[int, ...] = (1, 2)) -> Study:
    design = DESIGN._replace(seeds=seeds, fixed=fixed)
    return Study.extend(PATH, design, cells(design))


def saved(*fixed: str) -> Study:
    study = extended(*fixed)
    study.save()
    return study


def test_what_is_saved_is_opened() -> None:
    study = saved()
    assert Study.open(PATH).cells == study.cells and Study.open(PATH).design == study.design


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("studies/x", "name=x"),
        ("there/x", "name=x root=there"),
        ("x", "name=x root=."),
        ("a b/x", "name=x 'root=a b'"),
    ],
)
def test_what_to_type_to_go_on(path: str, words: str) -> None:
    assert Study(Path(path), DESIGN, ()).command() == f"dreamspi study {words}"
    assert Study(Path("studies/x").absolute(), DESIGN, ()).command() == "dreamspi study name=x"


def test_what_to_type_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    assert Study(Path("."), DESIGN, ()).command() == f"dreamspi study name=x root={tmp_path}"


def test_nothing_is_written_before_save() -> None:
    extended()
    assert not PATH.exists()


def test_cells_are_added_and_none_lost() -> None:
    first = saved()
    second = extended(seeds=(2, 3))
    assert second.design.seeds == (1, 2, 3)
    assert [cell.seed for cell in second.cells.values()] == [1, 2, 3] and first.cells.keys() < second.cells.keys()


def test_the_same_training_with_other_settings_is_another_study() -> None:
    saved()
    with pytest.raises(UserError, match="env=maze, arm ppo with other settings: gamma is 0.99 there, 0.9 here"):
        extended("gamma=0.9", seeds=(7,))


def test_words_for_every_training_stay_with_the_environments_they_were_for() -> None:
    saved("log_every=8", "total_steps=9216")
    other = Design({"minatar/breakout": ()}, (Arm("deepspi", ("planner=deepspi",)),), (1, 2), ("log_every=8",))
    study = Study.extend(PATH, other, cells(other))
    assert study.design.fixed == ("log_every=8",) and study.design.environments["maze"] == ("total_steps=9216",)
    found = {(cell.env, cell.arm, cell.digest) for cell in cells(study.design)}
    assert found > {(cell.env, cell.arm, cell.digest) for cell in study.cells.values()} and len(found) == 4


def test_a_directory_of_something_else() -> None:
    PATH.mkdir(parents=True)
    extended()  # an empty one is free
    (PATH / "thesis.tex").touch()
    with pytest.raises(UserError, match="exists already and is not a study's"):
        extended()


def test_no_study_there_names_those_that_are() -> None:
    saved()
    with pytest.raises(UserError, match="no such study.*Studies there: x"):
        Study.open("studies/y")
    (PATH / "study.yaml").write_text("cells: 3\n")
    with pytest.raises(UserError, match="damaged"):
        Study.open(PATH)


def test_a_cells_states() -> None:
    study = saved()
    cell, other = study.cells.values()
    run = study.run_directory(cell)
    assert study.state(cell) is State.WAITING
    run.mkdir()
    assert study.state(cell) is State.INTERRUPTED
    study.write_outcome(cell, 3, "a loss is not finite")
    assert study.state(cell) is State.FAILED and study.outcome(cell)["reason"] == "a loss is not finite"
    with study.locked(cell.id, wait=False):
        assert study.state(cell) is State.RUNNING
    (run / "summary.json").write_text("{}")
    assert study.state(cell) is State.FINISHED
    assert study.states() == {cell.id: State.FINISHED, other.id: State.WAITING}


def test_a_lock_is_held_once_and_by_whoever_inherits_it() -> None:
    study = saved()
    with study.locked("study", wait=False) as descriptor:
        with pytest.raises(UserError, match=r"at work already, in process \d+"), study.locked("study", wait=False):
            pass
        heir = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,), text=True
        )
    assert study.is_locked("study")  # what held it first is gone, its child is not
    heir.communicate("\n")
    assert not study.is_locked("study")
    with study.locked("study", wait=False):
        pass
