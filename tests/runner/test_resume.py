"""The promise: same seed, same bits; killed at any moment and resumed, the same bits again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamspi.checkpoints import CheckpointStore
from dreamspi.collection import Collection
from dreamspi.envs.base import VectorEnv
from dreamspi.metrics import MetricWriter
from dreamspi.run_directory import RunDirectory
from dreamspi.train import train
from dreamspi.training import Training
from planners.planner import Planner
from tests.runner.support import (
    COMMAND,
    assert_same_run,
    configured,
    files_of,
    last_states,
    resume,
    rows,
    tiny,
    trained,
)

#: Checkpoints at 3, 6, 9, 12 and 13 batches, barriers at 0, 4, 8 and 12: a resume replays 3, 2, 1 or no batches.
PACES = {"iterations": 13, "checkpoint": 3, "barrier": 4}
CASES = {
    "maze-deepspi": ["planner=deepspi", "env.max_steps=9"],
    "maze-dreamspi": ["planner=dreamspi", "env.max_steps=9"],
    "maze-hybrid": ["planner=hybrid", "world_model=mixture", "env.max_steps=9"],
    "maze-rssm": ["planner=dreamspi", "world_model=rssm", "world_model.deterministic=16", "env.max_steps=9"],
    "minatar": ["env=minatar/breakout", "planner=dreamspi"],
    "gym": ["env=gym/CartPole-v1", "planner=dreamspi"],
    "atari": [
        "env=atari/Breakout",
        "planner=ppo",
        "num_envs=2",
        "env.num_threads=1",
        "env.max_frames=48",
        "env.noop_max=2",
        "env.sticky=0.25",
    ],
}
References = Callable[[str], Path]


class Killed(BaseException):
    """The end of a process, as far as the code that runs in it can tell."""


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these runs."""
    monkeypatch.setattr("dreamspi.picture.draw", lambda run: None)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> References:
    """The run of a case that was never interrupted; not to be changed by a test."""
    found: dict[str, Path] = {}

    def run(case: str) -> Path:
        if case not in found:
            found[case] = trained(tmp_path_factory.mktemp(case) / "run", *CASES[case], **PACES)
        return found[case]

    return run


def kill(
    start: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    cls: type,
    method: str,
    when: Callable[[Any], bool],
    after: bool = False,
) -> None:
    """Starts a run that dies where ``cls.method`` is called and ``when`` holds for the object, or ``after`` it."""
    original = getattr(cls, method)

    def deadly(self: Any, *args: Any, **keys: Any) -> Any:
        if not after and when(self):
            raise Killed
        result = original(self, *args, **keys)
        if after and when(self):
            raise Killed
        return result

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cls, method, deadly)
        start()


def kill_before(iteration: int, start: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    kill(start, monkeypatch, Training, "iterate", lambda training: training.iteration == iteration)


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
    assert resume(run) == 0
    assert_same_run(run, reference(case))
    assert last_states(run)["info"]["scores"]["games"] > 0, "a test of games must see some end"


def test_another_seed_is_another_run(reference: References, tmp_path: Path) -> None:
    other = trained(tmp_path / "run", *CASES["maze-deepspi"], "seed=1", **PACES)
    for mine, theirs in zip(rows(other), rows(reference("maze-deepspi")), strict=True):
        assert mine["ground/loss_value"] != theirs["ground/loss_value"]


def _at(call: int) -> Callable[[Any], bool]:
    """True at one call, counted from 1."""
    calls: list[Any] = []

    def reached(called: Any) -> bool:
        calls.append(called)
        return len(calls) == call

    return reached


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
    kill(lambda: train(start), monkeypatch, cls, method, _at(call), after)
    assert resume(run) == 0
    assert_same_run(run, reference("maze-dreamspi"))
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
    assert resume(run) == 0
    assert_same_run(run, reference("maze-deepspi"))
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]


def test_killed_while_a_row_is_written(reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    kill_before(8, lambda: train(configured(run, *CASES["maze-deepspi"], **PACES)), monkeypatch)
    whole = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(whole[:-40])
    assert resume(run) == 0
    assert_same_run(run, reference("maze-deepspi"))


def test_killed_twice(reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time while batches are replayed that were themselves collected after a resume."""
    run = tmp_path / "run"
    kill_before(4, lambda: train(configured(run, *CASES["maze-hybrid"], **PACES)), monkeypatch)
    kill_before(7, lambda: resume(run), monkeypatch)
    assert last_states(run)["info"]["iteration"] == 6
    kill(lambda: resume(run), monkeypatch, Collection, "next", _at(2), after=True)
    assert resume(run) == 0
    assert_same_run(run, reference("maze-hybrid"))


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
        assert resume(run) == 0
    assert_same_run(run, reference("maze-dreamspi"))


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
        assert resume(run) == 0
    assert_same_run(run, reference("maze-deepspi"))


def test_a_run_directory_may_move(reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_before(8, lambda: train(configured(tmp_path / "old", *CASES["maze-deepspi"], **PACES)), monkeypatch)
    moved = (tmp_path / "old").rename(tmp_path / "new")
    assert resume(moved) == 0
    assert not (tmp_path / "old").exists()
    assert_same_run(moved, reference("maze-deepspi"))


# ------------------------------------------------------------------ signals

SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])


def signalled(
    start: Callable[[], int],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    cls: type,
    method: str,
    when: Callable[[Any], bool],
) -> tuple[int, int]:
    """Starts a run that gets a signal where ``cls.method`` is called; its exit code, and calls from then on."""
    original, calls = getattr(cls, method), 0

    def interrupted(self: Any, *args: Any, **keys: Any) -> Any:
        nonlocal calls
        if calls or when(self):
            calls += 1
        if calls == 1:
            signal.raise_signal(number)
        return original(self, *args, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(cls, method, interrupted)
        return start(), calls


@SIGNALS
def test_a_signal_during_a_replay(
    number: int,
    code: int,
    reference: References,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run leaves before the games' next step, in the midst of a batch; the checkpoint is as good as before."""
    run = tmp_path / "run"
    kill_before(8, lambda: train(configured(run, *CASES["maze-deepspi"], **PACES)), monkeypatch)
    before = files_of(run / "checkpoints")
    assert signalled(lambda: resume(run), number, monkeypatch, VectorEnv, "_step", _at(6)) == (code, 1)
    out = capsys.readouterr().out
    assert "replaying 64 steps" in out and f"stopped; go on with: dreamspi train resume={run}" in out
    assert files_of(run / "checkpoints") == before
    assert resume(run) == 0
    assert_same_run(run, reference("maze-deepspi"))


@SIGNALS
def test_a_signal_during_an_iteration(
    number: int, code: int, reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended and saved, though no checkpoint is due, and none follows."""
    run = tmp_path / "run"
    start = configured(run, *CASES["maze-deepspi"], **PACES)
    assert signalled(lambda: train(start), number, monkeypatch, Training, "iterate", _at(5)) == (code, 1)
    assert last_states(run)["info"]["iteration"] == 5
    assert not (run / "summary.json").exists()
    assert resume(run) == 0
    assert_same_run(run, reference("maze-deepspi"))


def test_a_signal_before_the_first_iteration(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    start = configured(run, *CASES["maze-deepspi"], **PACES)
    assert signalled(lambda: train(start), signal.SIGTERM, monkeypatch, Training, "start", _at(1)) == (143, 1)
    assert files_of(run / "checkpoints") == {}
    assert resume(run) == 0
    assert_same_run(run, reference("maze-deepspi"))


# ------------------------------------------------------------------ real processes

LONG = {"iterations": 200, "checkpoint": 10, "barrier": 24}


@pytest.fixture(scope="module")
def long_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamspi.picture.draw", lambda run: None)
        return trained(tmp_path_factory.mktemp("long") / "run", *CASES["maze-deepspi"], **LONG)


def stop(run: Path, number: int) -> subprocess.CompletedProcess[str]:
    """Starts the command, sends it a signal once it has written a checkpoint, and waits for its end."""
    words = ["train", *tiny(*CASES["maze-deepspi"], **LONG), f"run_dir={run}"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not list(run.glob("checkpoints/checkpoint-*.torchrl")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def test_sigkill(long_reference: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stop(run, signal.SIGKILL).returncode == -signal.SIGKILL
    assert not (run / "summary.json").exists()
    again = subprocess.run([*COMMAND, "train", f"resume={run}"], capture_output=True, text=True, timeout=120)
    assert (again.returncode, again.stderr) == (0, "")
    assert (run / "learning.png").is_file()
    assert_same_run(run, long_reference)


@SIGNALS
def test_a_signal_saves_and_leaves(number: int, code: int, long_reference: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped = stop(run, number)
    assert (stopped.returncode, stopped.stderr) == (code, "")
    assert f"go on with: dreamspi train resume={run}" in stopped.stdout
    left = last_states(run)["info"]
    assert left["step"] < LONG["iterations"] * 32
    assert left["step"] >= int(rows(run)[-1]["env_steps"]), "nothing that was trained is lost"
    assert resume(run) == 0
    assert_same_run(run, long_reference)


# ------------------------------------------------------------------ worker processes


@pytest.mark.parametrize("backend", ["process", "overlap"])
def test_worker_processes(tmp_path: Path, backend: str) -> None:
    """Two of them, whose generators can't be restored: exact where a checkpoint lies at a barrier.

    The run that was killed between its last two checkpoints is made from a finished one: each start of two
    workers takes seconds.
    """
    words = [*CASES["maze-dreamspi"], f"collector.backend={backend}", "collector.workers=2"]
    paces = {"iterations": 6, "checkpoint": 3, "barrier": 3}
    first = trained(tmp_path / "first", *words, **paces)
    assert len({row["ground/loss_value"] for row in rows(first)}) == 3
    run = Path(shutil.copytree(first, tmp_path / "run"))
    CheckpointStore(run / "checkpoints", keep=1, best_metric="return").paths()[0].unlink()
    assert (last_states(run)["info"]["iteration"], last_states(run)["info"]["barrier"]) == (3, 3)
    assert resume(run) == 0
    assert_same_run(run, first)
