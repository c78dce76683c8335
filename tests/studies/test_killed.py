"""A study on this machine whose processes are killed or stopped: nothing is lost, nothing runs twice, it goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dreamspi.cli import main
from dreamspi.metrics_file import read_table
from tests.studies.processes import CELLS, assert_whole, command, ended, states, supervisor, training, trains, until

TWO = [*CELLS, "seeds=2"]


@pytest.mark.slow
def test_a_worker_is_killed(tmp_path: Path) -> None:
    """It is the one that watches a training; joblib then ends the others, and the study hands all of it out again."""
    with command(tmp_path, *TWO, "launcher.n_jobs=2") as process:
        cell = until(lambda: trains(tmp_path), process)[0]
        os.kill(until(lambda: supervisor(tmp_path, cell)), signal.SIGKILL)
        code, _, err = ended(process)
    assert code == 0, err
    assert "dreamspi: a worker process died; what it was at goes on from the newest checkpoint." in err
    assert_whole(tmp_path, 2)


@pytest.mark.slow
def test_a_training_is_killed(tmp_path: Path) -> None:
    """Its cell has failed, and the other goes on; tried again, it goes on from its newest checkpoint."""
    with command(tmp_path, *TWO, "launcher.n_jobs=2") as process:
        cell = until(lambda: trains(tmp_path), process)[0]
        os.kill(training(until(lambda: supervisor(tmp_path, cell))), signal.SIGKILL)
        code, out, err = ended(process)
    assert (code, err) == (1, ""), out
    assert "1 finished, 1 failed" in out and f"failed: {cell}: killed by SIGKILL" in out
    assert "try those again by: dreamspi study name=s retry=true" in out
    run = tmp_path / "studies" / "s" / "runs" / cell
    newest = int(max((run / "checkpoints").glob("*.torchrl")).stem.rpartition("-")[2])
    before = clock(run, newest)
    with command(tmp_path, "retry=true") as process:
        code, _, err = ended(process)
    assert (code, err) == (0, "")
    assert clock(run, newest) == before != []
    assert_whole(tmp_path, 2)


def clock(run: Path, last: int) -> list[str]:
    """When each row up to a step was logged: no two trainings agree in that."""
    return [row["time/seconds"] for row in read_table(run / "metrics.csv")[1] if int(row["env_steps"]) <= last]


@pytest.mark.slow
def test_the_command_is_killed(tmp_path: Path) -> None:
    """The trainings save and leave by themselves, and their processes go; typed again at once, the study goes on."""
    with command(tmp_path, *TWO, "launcher.n_jobs=2") as process:
        cells = until(lambda: len(found := trains(tmp_path)) == 2 and found, process)
        workers = [until(lambda cell=cell: supervisor(tmp_path, cell)) for cell in cells]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with command(tmp_path) as again:
            code, _, err = ended(again)
        assert code == 0, err
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert_whole(tmp_path, 2)


@pytest.mark.parametrize(
    ("launcher", "number", "code"),
    [
        (["launcher=local", "launcher.n_jobs=2"], signal.SIGINT, 130),
        # With one job joblib trains in the command itself.
        pytest.param(["launcher=local", "launcher.n_jobs=1"], signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(["launcher=submitit_local"], signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_it(launcher: list[str], number: int, code: int, tmp_path: Path) -> None:
    """Ctrl-C comes from the terminal, to all processes of the group; SIGTERM to the command alone."""
    with command(tmp_path, *TWO, *launcher) as process:
        until(lambda: trains(tmp_path), process)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        returned, out, err = ended(process)
    assert returned == code, (out, err)
    assert "Traceback" not in err
    assert "stopped; go on with: dreamspi study name=s" in out
    assert "running" not in states(tmp_path) and "failed" not in states(tmp_path)
    with command(tmp_path, *launcher) as process:
        returned, _, err = ended(process)
    assert returned == 0, err
    assert_whole(tmp_path, 2)


def test_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["study", "name=s", *TWO, "launcher=slurm"]) == 2
    told = capsys.readouterr().err
    assert told == "dreamspi: launcher=slurm: there is no sbatch here. Start the study where SLURM takes jobs.\n"
    assert not (tmp_path / "studies").exists()
