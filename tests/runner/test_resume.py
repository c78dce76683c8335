"""The promise: same seed, same bits; killed at any moment and resumed, the same bits again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dreamspi.checkpoints import CheckpointStore
from dreamspi.cli import main
from dreamspi.collection import Collection
from dreamspi.config import compose
from dreamspi.metrics import MetricWriter
from dreamspi.run_directory import RunDirectory
from dreamspi.train import train
from dreamspi.training import Training
from planners.planner import Planner
from tests.runner.interrupted import CASES, PACES, Killed, References, at, kill, kill_before
from tests.runner.support import (
    assert_resumes_as,
    assert_same_run,
    configured,
    files_of,
    last_states,
    resume,
    rows,
    trained,
)


@pytest.mark.parametrize("iteration", [1, 8])
@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_is_never_interrupted(
    case: str, iteration: int, reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the first checkpoint the run starts anew; killed before batch 8, it replays batches 4 and 5."""
    run = tmp_path / "run"
    kill_before(iteration, lambda: train(configured(run, *CASES[case], **PACES)), monkeypatch)
    if iteration == 1:
        assert not list((run / "checkpoints").iterdir())
    else:
        left = last_states(run)
        assert (left["info"]["iteration"], left["info"]["barrier"]) == (6, 4)
        assert left["recording"]["actions"].shape[0] == 2
    assert_resumes_as(run, reference(case))
    assert last_states(run)["info"]["scores"]["games"] > 0, "a test of games must see some end"


def test_another_seed_is_another_run(reference: References, tmp_path: Path) -> None:
    other = trained(tmp_path / "run", *CASES["maze-deepspi"], "seed=1", **PACES)
    for mine, theirs in zip(rows(other), rows(reference("maze-deepspi")), strict=True):
        assert mine["ground/loss_value"] != theirs["ground/loss_value"]


@pytest.mark.parametrize(
    ("cls", "method", "call", "after"),
    [
        (Collection, "next", 8, True),  # collected, not learnt from
        (Planner, "improve", 8, True),  # learnt from, not counted
        (MetricWriter, "log", 5, False),  # counted, not logged
        (MetricWriter, "log", 5, True),  # logged, no checkpoint yet
        (Training, "cross_barrier", 8, False),  # the environments of before the barrier
        (Training, "cross_barrier", 8, True),  # and those after it
        (CheckpointStore, "save", 3, False),  # a checkpoint is due
        (CheckpointStore, "save", 3, True),  # and written
        (CheckpointStore, "save", 4, True),  # one that coincides with a barrier
        (CheckpointStore, "save", 5, True),  # the last
        (RunDirectory, "write_summary", 1, False),  # trained to the end, nothing said
    ],
)
def test_killed_at_any_moment_of_an_iteration(
    cls: type,
    method: str,
    call: int,
    after: bool,
    reference: References,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    start = configured(run, *CASES["maze-dreamspi"], **PACES)
    kill(lambda: train(start), monkeypatch, cls, method, at(call), after)
    assert_resumes_as(run, reference("maze-dreamspi"))
    assert (run / "summary.json").is_file()


def test_killed_while_a_checkpoint_is_written(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half-written file has another name, is never read, and goes with the next checkpoint."""
    run = tmp_path / "run"

    def cut_short(source: Path, target: Path) -> None:
        assert Path(source).name.startswith(".")
        if Path(target).name.endswith(".torchrl") and "000192" in Path(target).name:
            Path(source).write_bytes(Path(source).read_bytes()[:1000])
            raise Killed
        shutil.move(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("os.replace", cut_short)
        train(configured(run, *CASES["maze-deepspi"], **PACES))
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"checkpoint-000000000096.torchrl", ".checkpoint-000000000192.torchrl.new"}
    assert_resumes_as(run, reference("maze-deepspi"))
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]


def test_killed_while_a_row_is_written(reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    kill_before(8, lambda: train(configured(run, *CASES["maze-deepspi"], **PACES)), monkeypatch)
    whole = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(whole[:-40])
    assert_resumes_as(run, reference("maze-deepspi"))


def test_killed_twice(reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time while batches are replayed that were themselves collected after a resume."""
    run = tmp_path / "run"
    kill_before(4, lambda: train(configured(run, *CASES["maze-hybrid"], **PACES)), monkeypatch)
    kill_before(7, lambda: resume(run), monkeypatch)
    assert last_states(run)["info"]["iteration"] == 6
    kill(lambda: resume(run), monkeypatch, Collection, "next", at(2), after=True)
    assert_resumes_as(run, reference("maze-hybrid"))


def test_a_damaged_checkpoint_is_skipped(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    kill_before(8, lambda: train(configured(run, *CASES["maze-dreamspi"], **PACES)), monkeypatch)
    newest = run / "checkpoints" / "checkpoint-000000000192.torchrl"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    before = newest.with_name("checkpoint-000000000096.torchrl")
    with pytest.warns(UserWarning, match=f"{newest}.*It is skipped, {before} is used instead"):
        assert_resumes_as(run, reference("maze-dreamspi"))


def forbidden(*_: Any, **__: Any) -> None:
    raise AssertionError("there is nothing left to do")


def test_a_finished_run_stays_as_it_is(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so and shows its results without building or playing anything; where they came from stays written."""
    run = Path(shutil.copytree(reference("maze-deepspi"), tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text()) | {"git_revision": "that of its day"}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "learning.png").touch()
    before = files_of(run)
    monkeypatch.setattr(Training, "__init__", forbidden)
    capsys.readouterr()  # of the reference, where no test before has asked for it
    assert resume(run) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"finished already: {run}\n")
    assert f"environment steps                         │ {summary['env_steps']}" in out.replace("│    ", "│ ")
    assert files_of(run) == before


def test_a_finished_run_without_its_picture(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it was drawn."""
    run = Path(shutil.copytree(reference("maze-deepspi"), tmp_path / "run"))
    drawn: list[Path] = []
    monkeypatch.setattr("dreamspi.picture.draw", lambda run: drawn.append(run.path))
    assert resume(run) == 0
    assert drawn == [run]


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_a_finished_run_without_its_summary(
    content: str | None, reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it was written, or it was damaged: made again, from the checkpoint and without a game."""
    run = Path(shutil.copytree(reference("maze-deepspi"), tmp_path / "run"))
    (run / "summary.json").unlink()
    if content is not None:
        (run / "summary.json").write_text(content)
    monkeypatch.setattr(Collection, "barrier", forbidden)
    assert resume(run) == 0
    assert (run / "summary.json").read_text() == (reference("maze-deepspi") / "summary.json").read_text()
    assert_same_run(run, reference("maze-deepspi"))


def test_a_finished_run_whose_last_checkpoint_is_damaged(reference: References, tmp_path: Path) -> None:
    """Its summary says that it is finished, but its agent is gone: it is trained again."""
    run = Path(shutil.copytree(reference("maze-deepspi"), tmp_path / "run"))
    (run / "checkpoints" / "checkpoint-000000000416.torchrl").write_bytes(b"")
    with pytest.warns(UserWarning, match="000416.torchrl: damaged: .* is used instead"):
        assert_resumes_as(run, reference("maze-deepspi"))


def test_what_may_be_changed_is_changed_and_changes_no_result(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    kill_before(8, lambda: train(configured(run, *CASES["maze-deepspi"], **PACES)), monkeypatch)
    config = compose([f"resume={run}", "checkpoint.keep=5", "threads=2", "device=cpu"])
    assert (config.checkpoint.keep, config.threads, config.device) == (5, 2, "cpu")
    assert main(["train", f"resume={run}", "checkpoint.keep=5"]) == 0
    kept = [int(path.stem.rpartition("-")[2]) // 32 for path in sorted((run / "checkpoints").iterdir())]
    assert kept == [3, 6, 9, 12, 13]
    assert_same_run(run, reference("maze-deepspi"))


def test_a_run_directory_may_move(reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_before(8, lambda: train(configured(tmp_path / "old", *CASES["maze-deepspi"], **PACES)), monkeypatch)
    moved = (tmp_path / "old").rename(tmp_path / "new")
    assert resume(moved) == 0
    assert not (tmp_path / "old").exists()
    assert_same_run(moved, reference("maze-deepspi"))
