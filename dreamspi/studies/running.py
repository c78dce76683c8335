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

from dreamspi.config import RESUME_KEYS
from dreamspi.overrides import quoted
from dreamspi.studies.design import Cell
from dreamspi.studies.store import Study

#: The environment variable that says which process is the study's command.
COMMAND = "DREAMSPI_STUDY_COMMAND"
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
    parent = os.getppid()
    with deaf_to_ctrl_c(), study.locked(cell.id, wait=True) as lock:
        if study.finished(cell) or study.stop.exists() or _deserted(parent):
            return
        log = study.log(cell)
        before = log.stat().st_size if log.exists() else 0
        code = _train(study, cell, lock, parent)
        if code not in (0, *STOPPED) and not study.stop.exists():
            study.write_outcome(cell, code, _reason(log, before, code))


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Within, neither this process nor those that it starts take notice of Ctrl-C, which a terminal sends to all that
    a command has started: the study's command says what happens then. The command itself listens."""
    if _is_command():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)


def _is_command() -> bool:
    """Whether this process is the study's command, which runs a training itself where it runs one at a time."""
    return os.environ.get(COMMAND) == str(os.getpid())


def _deserted(parent: int) -> bool:
    """Whether the study's command was killed: then nobody is left to stop this process, or to use it."""
    return not _is_command() and os.getppid() != parent


def _train(study: Study, cell: Cell, lock: int, parent: int) -> int:
    """Runs the training; returns its exit code, negative after a signal."""
    with study.log(cell).open("ab") as log:
        training = subprocess.Popen(
            [sys.executable, "-m", "dreamspi.studies.attended", str(os.getpid()), "train", *_words(study, cell)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            env=_environment(cell),
        )
    told = False
    while (code := training.poll()) is None:
        if not told and (study.stop.exists() or _deserted(parent)):
            training.terminate()
            told = True
        time.sleep(PERIOD)
    if _deserted(parent):
        os._exit(1)
    return code


def _words(study: Study, cell: Cell) -> list[str]:
    directory = study.run_directory(cell)
    if (directory / "config.yaml").is_file():
        keys = [word for word in cell.overrides if word.partition("=")[0] in RESUME_KEYS]
        return [*keys, f"resume={quoted(directory)}"]
    shutil.rmtree(directory, ignore_errors=True)  # killed while it was being made
    return [*cell.overrides, f"run_dir={quoted(directory)}"]


def _environment(cell: Cell) -> dict[str, str]:
    """Numerical libraries read their thread count when they load, before torch can be told."""
    threads = str(cell.threads)
    return {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def _reason(log: Path, before: int, code: int) -> str:
    """Why a training failed, in one line; its log had ``before`` bytes of earlier attempts."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    text = log.read_bytes()[before:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("dreamspi: ") for line in lines if line.startswith("dreamspi: ")]
    return (told or lines or [f"exit code {code}"])[-1]
