"""``dreamspi study launcher=ray`` on a real cluster whose workers and machines die."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from dreamspi.cli import main
from tests.ray.conftest import add_node
from tests.studies.processes import CELLS, assert_whole, command, ended, states, study, supervisor, trains, until


def on(cluster: Any) -> list[str]:
    return ["launcher=ray", f"launcher.address={cluster.address}"]


@pytest.mark.slow
def test_a_worker_and_then_a_machine_die(cluster: Any, tmp_path: Path) -> None:
    with command(tmp_path, *CELLS, "seeds=3", *on(cluster)) as process:
        cell = until(lambda: trains(tmp_path), process)[0]
        before = until(lambda: supervisor(tmp_path, cell))
        os.kill(before, signal.SIGKILL)
        until(lambda: cell in trains(tmp_path) and supervisor(tmp_path, cell) not in (before, None), process)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        add_node(cluster)
        code, out, err = ended(process)
    assert (code, err) == (0, ""), out
    assert_whole(tmp_path, 3)


@pytest.mark.slow
def test_a_worker_that_dies_once_too_often_takes_no_other_cell_with_it(cluster: Any, tmp_path: Path) -> None:
    with command(tmp_path, *CELLS, "seeds=2", *on(cluster), "launcher.max_retries=0") as process:
        cell = until(lambda: trains(tmp_path), process)[0]
        os.kill(until(lambda: supervisor(tmp_path, cell)), signal.SIGKILL)
        code, out, _ = ended(process)
    assert code == 1 and "1 finished, 1 failed" in out
    assert f"failed: {cell}: WorkerCrashedError: " in out
    assert "try those again by: dreamspi study name=s retry=true" in out


@pytest.mark.slow
def test_sigterm_stops_what_runs_and_what_waits(cluster: Any, tmp_path: Path) -> None:
    """Six cells for two cores."""
    with command(tmp_path, *CELLS, "seeds=6", *on(cluster)) as process:
        until(lambda: trains(tmp_path), process)
        process.terminate()
        code, out, err = ended(process)
    assert (code, err) == (143, ""), out
    assert set(states(tmp_path)) <= {"waiting", "interrupted", "finished"} and "waiting" in states(tmp_path)
    assert "stopped; go on with: dreamspi study name=s" in out


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:9"])
def test_no_cluster(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dreamspi[ray]'")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert main(["study", "name=s", *CELLS, "launcher=ray", f"launcher.address={address}"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"address={address}: no Ray cluster answers" in told and "ray start --head" in told
    assert study(tmp_path) is None


def test_no_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["study", "name=s", *CELLS, "launcher=ray"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("dreamspi: Ray can't be imported: ") and "pip install 'dreamspi[ray]'" in told
    assert told.count("\n") == 1 and study(tmp_path) is None
