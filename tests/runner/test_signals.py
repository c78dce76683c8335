"""Signals, and real processes: a run that is told to stop saves and leaves, and one that is killed has lost little."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamspi.envs.base import VectorEnv
from dreamspi.interrupts import CAUGHT, Interrupts
from dreamspi.train import train
from dreamspi.training import Training
from tests.runner.interrupted import CASES, PACES, References, at, kill_before
from tests.runner.support import (
    COMMAND,
    assert_resumes_as,
    assert_same_run,
    configured,
    files_of,
    last_states,
    resume,
    rows,
    trained,
)
from tests.support import tiny

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
    assert signalled(lambda: resume(run), number, monkeypatch, VectorEnv, "_step", at(6)) == (code, 1)
    out = capsys.readouterr().out
    assert "replaying 64 steps" in out and f"stopped; go on with: dreamspi train resume={run}" in out
    assert files_of(run / "checkpoints") == before
    assert_resumes_as(run, reference("maze-deepspi"))


@SIGNALS
def test_a_signal_during_an_iteration(
    number: int, code: int, reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended and saved, though no checkpoint is due, and none follows."""
    run = tmp_path / "run"
    start = configured(run, *CASES["maze-deepspi"], **PACES)
    assert signalled(lambda: train(start), number, monkeypatch, Training, "iterate", at(5)) == (code, 1)
    assert last_states(run)["info"]["iteration"] == 5
    assert not (run / "summary.json").exists()
    assert_resumes_as(run, reference("maze-deepspi"))


def test_a_signal_before_the_first_iteration(
    reference: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    start = configured(run, *CASES["maze-deepspi"], **PACES)
    assert signalled(lambda: train(start), signal.SIGTERM, monkeypatch, Training, "start", at(1)) == (143, 1)
    assert files_of(run / "checkpoints") == {}
    assert_resumes_as(run, reference("maze-deepspi"))


@pytest.mark.parametrize("number", CAUGHT)
@pytest.mark.parametrize("first", CAUGHT)
def test_a_second_signal_takes_its_usual_course(first: int, number: int) -> None:
    """Which is to end the process, but for this test."""
    usual: list[int] = []
    before = signal.signal(number, lambda number, _: usual.append(number))
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(first)
            assert (interrupts.signal, usual) == (first, [])
            signal.raise_signal(number)
            assert (interrupts.signal, usual) == (first, [number])
    finally:
        signal.signal(number, before)


# ------------------------------------------------------------------ real processes

#: Nine tenths of it, seconds, are left once the first checkpoint is seen.
LONG = {"iterations": 100, "checkpoint": 10, "barrier": 24}


@pytest.fixture(scope="module")
def long_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.mark.slow
def test_sigkill(long_reference: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stop(run, signal.SIGKILL).returncode == -signal.SIGKILL
    assert not (run / "summary.json").exists()
    again = subprocess.run([*COMMAND, "train", f"resume={run}"], capture_output=True, text=True, timeout=120)
    assert (again.returncode, again.stderr) == (0, "")
    assert (run / "learning.png").is_file()
    assert_same_run(run, long_reference)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_leaves(number: int, code: int, long_reference: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped = stop(run, number)
    assert (stopped.returncode, stopped.stderr) == (code, "")
    assert f"go on with: dreamspi train resume={run}" in stopped.stdout
    left = last_states(run)["info"]
    assert left["step"] < LONG["iterations"] * 32
    assert left["step"] >= int(rows(run)[-1]["env_steps"]), "nothing that was trained is lost"
    assert_resumes_as(run, long_reference)
