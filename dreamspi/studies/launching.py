"""Hands the cells of a study to one of Hydra's launchers."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dreamspi.catalogue import config_directory, options
from dreamspi.config import VERSION_BASE
from dreamspi.errors import UserError, unknown
from dreamspi.overrides import parse, quoted
from dreamspi.studies.design import Cell, cores
from dreamspi.studies.running import job
from dreamspi.studies.store import Study

CONFIG_NAME = "launch"


def check(study: Study, words: Sequence[str]) -> None:
    """Raises unless ``words`` choose a launcher that is there.

    Raises:
        UserError: an unknown launcher or key of it, or a package that is not installed.
    """
    with _composed(_words(study, words, threads=1)):
        pass


def launch(study: Study, cells: Sequence[Cell], words: Sequence[str]) -> int:
    """Runs the cells and returns when all have ended, or a signal has stopped them: then 128 + its number, else 0."""
    study.stop.unlink(missing_ok=True)
    whole = _words(study, words, threads=max(cell.threads for cell in cells))
    with _composed(whole) as config, _signals(study) as got:
        launcher = instantiate(config.launcher)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
        launcher.setup(hydra_context=context, task_function=job, config=config)
        launcher.launch([[*whole, f"cell='{cell.id}'"] for cell in cells], initial_job_idx=0)
    study.stop.unlink(missing_ok=True)
    return 128 + got[0] if got else 0


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
            config = compose(CONFIG_NAME, list(words), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            missing = "Could not find 'hydra/launcher/" in str(error)
            hint = " Install it: pip install 'dreamspi[slurm]'." if missing else ""
            raise UserError(f"{str(error).strip()}{hint}") from error
        yield config


@contextmanager
def _signals(study: Study) -> Iterator[list[int]]:
    """Within, Ctrl-C and SIGTERM make the file that every training of the study, wherever it runs, stops for."""
    got: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        got.append(number)
        study.stop.touch()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
