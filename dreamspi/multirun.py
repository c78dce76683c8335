"""Hydra's own command line, for what it does better: multi-runs and showing configurations."""

from __future__ import annotations

import os
import sys

from hydra import main as hydra_main
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from dreamspi.catalogue import config_directory
from dreamspi.config import CONFIG_NAME, VERSION_BASE, compose, expand, register
from dreamspi.errors import EXIT_DIVERGED, EXIT_USER_ERROR, Diverged, UserError, nearest, tell
from dreamspi.overrides import as_meant, name_classes, parse

FLAGS = ("-m", "--multirun", "-c", "--cfg", "--resolve", "-i", "--info", "-p", "--package")


def run(words: list[str]) -> int:
    """Runs ``dreamspi train`` with one of Hydra's flags; returns the worst exit code of its jobs.

    Every job is composed and checked before the first one starts. A job that fails leaves the others going.
    """
    given = [word for word in words if "=" in word and not word.startswith("-")]
    overrides = as_meant(name_classes(given))
    words = [word for word in words if word not in given] + overrides
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in FLAGS:
            close = nearest(word, FLAGS)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UserError(f"{word}: no such flag.{hint} `dreamspi train --help` shows what there is.")
    register(parse(overrides))
    taken: list[str] = []
    for combination in expand(overrides):
        config = compose(combination)
        if config.resume is not None:
            raise UserError("resume goes with a single run, not with -m or --cfg.")
        place = os.path.abspath(config.run_dir) if config.run_dir else None
        if place in taken:
            raise UserError(
                f"run_dir={config.run_dir}: several trainings can't share it. Leave it out: each gets one of its own."
            )
        taken += [place] if place else []
    codes: list[int] = []

    @hydra_main(config_path=str(config_directory()), config_name=CONFIG_NAME, version_base=VERSION_BASE)
    def job(_: DictConfig) -> None:
        codes.append(_one(list(HydraConfig.get().overrides.task), HydraConfig.get().sweep.dir))

    # Hydra reads sys.argv; its errors come with their traceback only if they are not caught by itself.
    before = sys.argv
    sys.argv = ["dreamspi train", *words]
    try:
        job()
    finally:
        sys.argv = before
    return max(codes, default=0)


def _one(overrides: list[str], root: str) -> int:
    from dreamspi.train import train

    GlobalHydra.instance().clear()  # Hydra composes one configuration at a time: its own, then ours
    config = compose(overrides)
    with open_dict(config):
        config.choices.root = root
    try:
        code = train(config)
    except UserError as error:
        tell(error)
        return EXIT_USER_ERROR
    except Diverged as error:
        tell(error)
        return EXIT_DIVERGED
    if code >= 128:  # a signal stops the whole multi-run, not one job of it
        raise SystemExit(code)
    return code
