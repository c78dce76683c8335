"""Hands the cells of a study to one of Hydra's launchers."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType

from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dreamspi.catalogue import config_directory, options
from dreamspi.config import VERSION_BASE
from dreamspi.cores import cores
from dreamspi.errors import UserError, tell, unknown
from dreamspi.overrides import check_keys, parse, quoted
from dreamspi.studies.design import Cell
from dreamspi.studies.ray_launcher import RayLauncher
from dreamspi.studies.running import COMMAND, job
from dreamspi.studies.store import State, Study

CONFIG_NAME = "launch"
#: Deaths of worker processes, with no cell finished between them, after which the rest is not handed out again.
ATTEMPTS = 5
DIED = "a worker process died; what it was at goes on from the newest checkpoint."
GIVEN_UP = f"a worker process died, for the {ATTEMPTS}th time without a cell that was finished in between: given up."


def check(study: Study, words: Sequence[str]) -> None:
    """Raises unless ``words`` choose a launcher that is there.

    Raises:
        UserError: an unknown launcher or key of it, or a package that is not installed.
    """
    with _composed(_words(study, words, threads=1)):
        pass


def require(study: Study, words: Sequence[str]) -> None:
    """Raises unless what the launcher needs is at hand: a Ray cluster, SLURM.

    Raises:
        UserError: it is not.
    """
    with _composed(_words(study, words, threads=1)) as config:
        launcher = instantiate(config.launcher)
        if isinstance(launcher, RayLauncher):
            launcher.ready()
        if config.launcher._target_.endswith("SlurmLauncher") and shutil.which("sbatch") is None:
            raise UserError("launcher=slurm: there is no sbatch here. Start the study where SLURM takes jobs.")


def launch(study: Study, cells: Sequence[Cell], words: Sequence[str]) -> int:
    """Runs the cells and returns when all have ended, or a signal has stopped them: then 128 + its number, else 0."""
    study.stop.unlink(missing_ok=True)
    os.environ[COMMAND] = str(os.getpid())
    whole = _words(study, words, threads=max(cell.threads for cell in cells))
    with _composed(whole) as config, _signals(study) as got:
        deaths = 0
        while deaths < ATTEMPTS:
            left = [cell for cell in cells if study.state(cell) not in (State.FINISHED, State.FAILED)]
            if got or not left:
                break
            try:
                returns = _launched(config, whole, left)
            except BrokenProcessPool:
                deaths = 1 if any(map(study.finished, left)) else deaths + 1
                if not got:
                    tell(DIED if deaths < ATTEMPTS else GIVEN_UP)
            except KeyboardInterrupt:  # of a worker that was about to start
                if not got:
                    raise
            except Exception as error:
                if os.environ.get("HYDRA_FULL_ERROR") == "1":
                    raise
                tell(f"launcher={config.hydra.runtime.choices.launcher}: {type(error).__name__}: {error}")
                break
            else:
                _note_lost(study, left, returns)
                break
    study.stop.unlink(missing_ok=True)
    return 128 + got[0] if got else 0


def _launched(config: DictConfig, words: Sequence[str], cells: Sequence[Cell]) -> Sequence[JobReturn]:
    launcher = instantiate(config.launcher)
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    launcher.setup(hydra_context=context, task_function=job, config=config)
    return launcher.launch([[*words, f"cell='{cell.id}'"] for cell in cells], initial_job_idx=0)


def _note_lost(study: Study, cells: Sequence[Cell], returns: Sequence[JobReturn]) -> None:
    """What ended before its training did has failed, and says why: nobody else does."""
    for cell, returned in zip(cells, returns, strict=True):
        if returned.status is JobStatus.FAILED and not study.outcome(cell) and not study.finished(cell):
            error = returned._return_value  # ``return_value`` raises it
            study.write_outcome(cell, 1, " ".join(f"{type(error).__name__}: {error}".split()))


def _words(study: Study, words: Sequence[str], threads: int) -> list[str]:
    """All that a job's configuration depends on, but for its cell."""
    for override in parse(words):
        if override.key_or_group == "launcher" and override.value() not in options("launcher"):
            raise unknown("launcher", override.value(), options("launcher"))
    at_a_time = max(cores() // threads, 1)
    return [*words, f"path={quoted(study.path.resolve())}", f"jobs={at_a_time}", f"threads={threads}"]


@contextmanager
def _composed(words: Sequence[str]) -> Iterator[DictConfig]:
    """The launcher's configuration, with Hydra set up around it."""
    with initialize_config_dir(str(config_directory()), version_base=VERSION_BASE):
        try:
            typed = [override for override in parse(words) if override.key_or_group.startswith("launcher.")]
            keys = {override.input_line for override in typed}
            check_keys(typed, compose(CONFIG_NAME, [word for word in words if word not in keys]))
            config = compose(CONFIG_NAME, list(words), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            missing = "Could not find 'hydra/launcher/" in str(error)
            hint = " Install it: pip install 'dreamspi[slurm]'." if missing else ""
            raise UserError(f"{str(error).strip()}{hint}") from error
        yield config


@contextmanager
def _signals(study: Study) -> Iterator[list[int]]:
    """Within, Ctrl-C and SIGTERM make the file that every training of the study, wherever it runs, stops for.

    A terminal sends Ctrl-C to all processes of the group. Those that are started from here take over that this thread
    is deaf to it; another takes it. A second signal leaves at once; the trainings notice, save and leave too.
    """
    got: list[int] = []
    over = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        if got:
            os._exit(128 + number)
        got.append(number)
        study.stop.touch()

    threading.Thread(target=over.wait, daemon=True).start()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield got
    finally:
        over.set()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
