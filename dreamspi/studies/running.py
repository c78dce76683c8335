"""One cell at work: an ordinary ``dreamspi train`` in a process of its own, started, watched and stopped.

It runs wherever the launcher puts it: in a worker process, on a Ray worker, in a SLURM job. All that it shares with
the study's command is the study's directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from dreamspi.overrides import quoted
from dreamspi.studies.attended import ATTENDANT
from dreamspi.studies.design import Cell
from dreamspi.studies.store import Study

#: Seconds between two looks at a training.
PERIOD = 0.2
#: How a training ends that was stopped, not broken: Ctrl-C and SIGTERM, after which it has saved.
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def job(config: DictConfig) -> str:
    """What the launcher calls: runs ``config.cell`` of the study in ``config.path``; returns its state."""
    study = Study.open(config.path)
    run_cell(study, study.cells[config.cell])
    return str(study.state(study.cells[config.cell]))


def run_cell(study: Study, cell: Cell) -> None:
    """Trains a cell to its end, from its newest checkpoint if it has one; or until ``study.stop`` exists.

    A cell that is still at work in a process of an earlier start is waited for.
    """
    with deaf_to_ctrl_c(), study.locked(cell.id, wait=True) as lock:
        if study.finished(cell) or study.stop.exists():
            return
        code = _train(study, cell, lock)
        if code not in (0, *STOPPED) and not study.stop.exists():
            study.write_outcome(cell, code, _reason(study.log(cell), code))


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Within, neither this process nor those that it starts take notice of Ctrl-C, which a terminal sends to all that
    a command has started: the study's command says what happens then."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)


def _train(study: Study, cell: Cell, lock: int) -> int:
    """Runs the training; returns its exit code, negative after a signal."""
    with study.log(cell).open("ab") as log:
        training = subprocess.Popen(
            [sys.executable, "-m", "dreamspi.studies.attended", "train", *_words(study, cell)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            env=_environment(cell),
        )
    parent = os.getppid()
    told = False
    while (code := training.poll()) is None:
        if not told and (study.stop.exists() or os.getppid() != parent):
            training.terminate()
            told = True
        time.sleep(PERIOD)
    if os.getppid() != parent:  # the study's command was killed: nobody is left to stop this process, or to use it
        os._exit(1)
    return code


def _words(study: Study, cell: Cell) -> list[str]:
    directory = study.run_directory(cell)
    if (directory / "config.yaml").is_file():
        return [f"resume={quoted(directory)}"]
    shutil.rmtree(directory, ignore_errors=True)  # killed while it was being made
    return [*cell.overrides, f"run_dir={quoted(directory)}"]


def _environment(cell: Cell) -> dict[str, str]:
    """Numerical libraries read their thread count when they load, before torch can be told."""
    threads = str(cell.threads)
    return {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, ATTENDANT: str(os.getpid())}


def _reason(log: Path, code: int) -> str:
    """Why a training failed, in one line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("dreamspi: ") for line in lines if line.startswith("dreamspi: ")]
    return (told or lines or [f"exit code {code}"])[-1]
