"""``dreamspi study`` as a user runs it: several trainings, killed and resumed, failed and retried."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dreamspi.cli import main
from dreamspi.studies.store import State, Study
from tests.runner.support import COMMAND
from tests.studies.support import records, words

PATH = Path("studies/x")
LONG = 120


def begin(*more: str, root: str) -> subprocess.Popen[bytes]:
    """Starts a study in a process group of its own."""
    return subprocess.Popen([*COMMAND, "study", *words(*more, iterations=LONG), f"root={root}"], start_new_session=True)


def wait_for_checkpoints(study: Path, count: int, timeout: float = 120) -> None:
    """Until ``count`` checkpoints have been written since the last look, so that there is something to go on from."""
    before = {file: file.stat().st_mtime_ns for file in study.glob("runs/*/checkpoints/*.torchrl")}
    end = time.monotonic() + timeout
    seen: set[Path] = set()
    while len(seen) < count:
        assert time.monotonic() < end, f"no checkpoint in {timeout} s"
        seen |= {file for file in study.glob("runs/*/checkpoints/*.torchrl") if file not in before}
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_twice_and_resumed_it_is_as_if_it_never_was(capsys: pytest.CaptureFixture[str]) -> None:
    whole = Path("whole/x")
    assert main(["study", *words(iterations=LONG), "root=whole"]) == 0
    for _ in range(2):
        process = begin(root="broken")
        wait_for_checkpoints(Path("broken/x"), 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert State.FINISHED not in Study.open("broken/x").states().values()
    assert main(["study", "name=x", "root=broken"]) == 0
    assert records(Study.open("broken/x")) == records(Study.open(whole))
    assert "2 finished" in capsys.readouterr().out
    assert report("broken/x") == report("whole/x")


def report(study: str) -> dict[str, str]:
    """The files of a study's report by name, but for what is the clock's."""
    assert main(["report", study, "formats=none"]) == 0
    files = {path.name: path.read_text() for path in Path(study, "report").rglob("*.*") if "speed" not in path.name}
    assert {"index.html", "scores.csv", "scores.tex", "versions.csv"} <= files.keys()
    clock = r"<(section|script)\b[^>]*\bdata-clock\b.*?</\1>"
    files["index.html"], parts = re.subn(clock, "", files["index.html"], flags=re.S)
    assert parts >= 2
    return files


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built before it is trained: for studies whose cells are known to be sound, as that takes its time."""
    monkeypatch.setattr("dreamspi.studies.trying.check", lambda cells: None)


@pytest.mark.usefixtures("untried")
def test_a_failed_cell_is_told_kept_apart_and_retried(capsys: pytest.CaptureFixture[str]) -> None:
    # Everything about the first arm's learning rate is wrong, and only training can tell.
    odd = "planner.ground.optimizers.policy.lr=1e30,1e-3"
    assert main(["study", *words(odd, "seeds=1")]) == 1
    out = capsys.readouterr().out
    assert "1 finished, 1 failed" in out and "retry=true" in out
    (line,) = [line for line in out.splitlines() if line.startswith("failed: ")]
    assert "lr=1e+30" in line and "not finite" in line and ".log" in line
    log = next(PATH.glob("logs/*1e+30*"))
    length = log.stat().st_size
    assert main(["study", "name=x"]) == 1 and log.stat().st_size == length  # not tried again by itself
    assert main(["study", "name=x", "retry=true"]) == 1 and log.stat().st_size > length


def test_adding_builds_and_runs_only_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *words("seeds=1")]) == 0
    (first,) = PATH.glob("runs/*/metrics.csv")
    written = first.stat().st_mtime_ns
    assert main(["study", *words("seeds=1", "planner=[ppo,deepspi]")]) == 0
    out = capsys.readouterr().out
    assert "2 finished" in out and out.count("building 1 of 1 cells") == 2
    assert main(["study", "name=x"]) == 0 and "building" not in capsys.readouterr().out
    assert first.stat().st_mtime_ns == written


@pytest.mark.usefixtures("untried")
def test_another_versions_study_is_not_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *words("seeds=1", iterations=1)]) == 0
    file = PATH / "study.yaml"
    waiting = file.read_text().replace("-s1-", "-s2-").replace("seed: 1", "seed: 2").replace("seed=1", "seed=2")
    file.write_text(re.sub(r"digest: \S+", "digest: 0badcafe", waiting))  # as if a default had changed since
    assert main(["study", "name=x"]) == 2
    assert "another version of DreamSPI, with other defaults" in capsys.readouterr().err


def test_a_dry_study_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *words("dry=true")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and all(line.startswith("waiting ") and "planner=ppo" in line for line in out)
    assert not PATH.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["planner=[ppo,dreamspy]"], "dreamspy: no such name. Did you mean dreamspi"),
        (["env=[maze,minatar/brekout]"], "minatar/brekout: no such name. Did you mean minatar/breakout"),
        (["launcher=slrum"], "launcher=slrum: no such name. Did you mean slurm"),
        (["launcher.n_job=3"], "n_job"),
    ],
)
def test_wrong_words_before_anything_is_written(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *words(*more)]) == 2
    assert message in capsys.readouterr().err and not PATH.exists()


def test_a_combination_that_cannot_be_built_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *words("planner=dreamspi", "planner.dream.minibatches=1,7")]) == 2
    told = capsys.readouterr().err
    assert "env=maze, arm dreamspi deterministic minibatches=7: planner.dream.minibatches=7 does not divide" in told
    assert not PATH.exists()


@pytest.mark.usefixtures("untried")
def test_a_place_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *words("root=/proc/none")]) == 2
    told = capsys.readouterr().err
    assert "/proc/none/x: can't be written: No such file or directory. Choose another directory by root=." in told


def test_help_lists_presets_and_launchers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--help"]) == 0
    out = capsys.readouterr().out
    assert "study=quick" in out and "launcher=slurm" in out
    assert main(["study"]) == 2
