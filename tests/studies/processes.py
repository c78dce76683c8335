"""Studies as real processes that are killed: how they are started, watched, and what must hold afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dreamspi.studies.store import State, Study

ROOT = Path(__file__).parents[2]
#: Small trainings of some seconds, with a checkpoint every few hundred steps.
CELLS = [
    "env=maze",
    "planner=ppo",
    "total_steps=20480",
    "num_envs=16",
    "num_steps=4",
    "checkpoint.every=1024",
    "certify_every=1024",
    "planner.hidden=16",
    "planner.ground.segment=4",
    "planner.ground.epochs=1",
    "planner.ground.minibatches=1",
    "logger=none",
]


def environment(**more: str) -> dict[str, str]:
    """Of a process that imports this checkout, wherever it runs."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", **more}


@contextmanager
def command(directory: Path, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """``dreamspi study name=s <words>``, in a process group of its own; whatever of it is left is ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dreamspi", "study", "name=s", *words],
        cwd=directory,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ended(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str, str]:
    """Exit code, what it said, and what it complained of."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def until(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None, timeout: float = 90) -> Any:
    """What the condition returns once it is true."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended too early: {process.returncode} {process.communicate()}")
        time.sleep(0.02)
    return found


def study(directory: Path) -> Study | None:
    """The study that ``command`` makes there, once it is."""
    path = directory / "studies" / "s"
    return Study.open(path) if (path / "study.yaml").is_file() else None


def trains(directory: Path) -> list[str]:
    """The cells that train now and have saved a checkpoint."""
    found = study(directory)
    if found is None:
        return []
    return [
        id
        for id, cell in found.cells.items()
        if found.state(cell) is State.RUNNING and list(found.run_directory(cell).glob("checkpoints/*.torchrl"))
    ]


def supervisor(directory: Path, cell: str) -> int | None:
    """The process that has started the cell's training; None while a lock passes from one to the next."""
    told = (directory / "studies" / "s" / "locks" / cell).read_text()
    found = re.match(r"process (\d+) on ", told)
    return int(found[1]) if found else None


def training(supervisor: int) -> int:
    """The process of the training that another one has started."""
    (found,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return int(found)


def assert_whole(directory: Path, cells: int) -> None:
    """All cells are finished, nothing has failed, and no training ran twice at once: no step is logged twice."""
    found = study(directory)
    assert found is not None
    states = [str(state) for state in found.states().values()]
    assert states == ["finished"] * cells, [log.read_text() for log in (found.path / "logs").iterdir()]
    for cell in found.cells.values():
        lines = (found.run_directory(cell) / "metrics.csv").read_text().splitlines()[1:]
        steps = [int(line.split(",")[0]) for line in lines]
        assert steps == sorted(set(steps)), cell.id


def states(directory: Path) -> Sequence[str]:
    """Of all cells."""
    found = study(directory)
    return [] if found is None else [str(state) for state in found.states().values()]
