"""From the words of a command line to one resolved, checked configuration.

Hydra composes; this module adds what Hydra leaves out: ``env=<family>/<name>``, errors a newcomer
understands, and checks of values before anything expensive starts.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dreamspi.catalogue import (
    GROUPS,
    adjusted_choices,
    choices_of,
    config_directory,
    env_names,
    lineage,
    named_parts,
    options,
    outside,
)
from dreamspi.errors import UserError, did_you_mean
from dreamspi.outside import ENTRY_POINTS, class_option, is_class
from dreamspi.overrides import (
    COUNTS,
    as_meant,
    check_groups,
    check_keys,
    check_type,
    group_choices,
    is_group,
    is_hydra,
    name_classes,
    parse,
)
from dreamspi.replaced import leave_behind

VERSION_BASE = "1.3"
CONFIG_NAME = "config"
#: What may be changed when a run is resumed: nothing that its schedules or its data depend on.
RESUME_KEYS = (
    "device",
    "threads",
    "checkpoint.keep",
    "collector.address",
    "collector.cpus",
    "collector.patience",
)
#: Keys of an environment's file that are the runner's, not its constructor's.
RUNNER_KEYS = ("names", "encoder", "total_steps", "barrier", "spread", "dream_horizon", "dream_epochs")


def compose(overrides: Sequence[str]) -> DictConfig:
    """The resolved and checked configuration for these overrides.

    With ``resume=<run_dir>`` it is that run's own configuration, in which only ``RESUME_KEYS`` may change;
    its keys ``resume`` and ``run_dir`` then both name that directory.
    Key ``choices`` names what was chosen: ``env`` (``minatar/breakout``), ``world_model``, ``planner``,
    ``experiment`` and the run's ``run_id``.

    Raises:
        UserError: for anything that can't be right.
    """
    overrides = as_meant(name_classes(overrides))
    parsed = parse(overrides)
    if any(override.is_sweep_override() for override in parsed):
        raise UserError("several values for one key are a multi-run: add -m.")
    check_groups(parsed)
    resume = [override.value() for override in parsed if override.key_or_group == "resume"]
    if resume and resume[-1] == "":
        raise UserError("resume=: needs the directory of a run.")
    if resume and resume[-1] is not None:
        return _resumed(Path(str(resume[-1])), parsed)
    register(parsed)
    classes = {group for group in ENTRY_POINTS if any(map(is_class, group_choices(parsed, group)))}
    try:
        base = chosen(tuple(o.input_line or "" for o in parsed if is_group(o)))
        check_keys([o for o in parsed if not is_group(o) and not is_hydra(o)], base, classes)
        with initialize_config_dir(str(config_directory()), version_base=VERSION_BASE):
            config = hydra_compose(CONFIG_NAME, list(overrides), return_hydra_config=True)
        choices = dict(config.hydra.runtime.choices)
        _check_preset(choices)
        with open_dict(config):
            del config["hydra"]
            config.choices = _choices(config, choices)
        leave_behind(config, base, parsed, named_parts(choices))
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error).strip()) from error
    validate(config)
    return config


@cache
def chosen(groups: tuple[str, ...]) -> DictConfig:
    """What the files of these options say; not to be changed, as a study asks for the same many times."""
    with initialize_config_dir(str(config_directory()), version_base=VERSION_BASE):
        return hydra_compose(CONFIG_NAME, list(groups))


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a multi-run: every combination of the values that were typed."""
    parsed = parse(overrides)
    alternatives = [_alternatives(override) for override in parsed if not is_hydra(override)]
    return [list(job) for job in itertools.product(*alternatives)]


def _alternatives(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def register(parsed: Sequence[Override]) -> None:
    """Makes options of Hydra's of all that has no file of its own among ours."""
    for group in ENTRY_POINTS:
        for option in outside(group).values():
            if not option.problem:
                _store(group, option.name, OmegaConf.load(option.path))
        for name in filter(is_class, group_choices(parsed, group)):
            _store(group, name, class_option(group, name))
    _register_environments(parsed)


def _store(group: str, name: str, node: Any, package: str | None = None) -> None:
    ConfigStore.instance().store(group=group, name=name, node=node, package=package, provider="dreamspi")


def _register_environments(parsed: Iterable[Override]) -> None:
    """Makes ``env=<family>/<name>`` an option of Hydra's for each one typed or named by a preset.

    The option is the family's file with the key ``name`` set, so that everything of Hydra's (multi-runs,
    presets, overrides) treats it like a file of its own.
    """
    typed = list(group_choices(parsed, "env"))
    presets = [choices_of(preset) for preset in options("experiment")]
    typed += [preset["env"] for preset in presets if "env" in preset]
    for value in typed:
        family, slash, name = value.partition("/")
        if slash:
            folder, _, last = value.rpartition("/")  # a Gymnasium id may have a namespace: gym/ALE/Pong-v5
            _store(f"env/{folder}", last, {"defaults": [f"/env/{family}@_here_", "_self_"], "name": name}, "env")


def _check_preset(choices: dict[str, Any]) -> None:
    """Raises where keys that a preset sets would go to another option than the one that it sets them for."""
    preset = choices.get("experiment")
    for group, option in adjusted_choices(preset).items() if preset else ():
        chosen = str(choices.get(group))
        if chosen != option and option not in lineage(group, chosen):
            raise UserError(
                f"{group}={chosen}: experiment={preset} sets keys that are for {group}={option}. Leave "
                f"{group}= out, or choose another experiment=."
            )


def _choices(config: DictConfig, chosen: dict[str, Any]) -> dict[str, Any]:
    family = str(chosen["env"]).partition("/")[0]
    env = f"{family}/{config.env.name}" if env_names(family) else family
    names = {group: chosen.get(group) for group in ("world_model", "planner", "experiment")}
    return {"env": env, **names, "run_id": uuid.uuid4().hex[:8]}


def load(run_dir: Path) -> DictConfig:
    """The configuration that a run directory holds."""
    path = run_dir / "config.yaml"
    if not run_dir.is_dir():
        beside = [str(other.parent) for other in run_dir.parent.glob("*/config.yaml")]
        raise UserError(f"{run_dir}: no such run directory.{did_you_mean(run_dir, beside)}")
    if not path.is_file():
        raise UserError(f"{run_dir}: not a run directory, it holds no config.yaml.")
    try:
        config = OmegaConf.load(path)
    except Exception as error:  # whatever a damaged YAML file makes its reader raise
        raise UserError(f"{path}: can't be read: {error}") from error
    if not isinstance(config, DictConfig) or "choices" not in config:
        raise UserError(f"{path}: not the configuration of a run.")
    _check_stored(path, config)
    OmegaConf.set_struct(config, True)
    return config


def _check_stored(path: Path, config: DictConfig) -> None:
    """Raises where a run's configuration lacks a key of the runner's, has one too many, or one of another type."""
    ours: Any = OmegaConf.to_container(OmegaConf.load(config_directory() / f"{CONFIG_NAME}.yaml"))
    del ours["defaults"], ours["hydra"]
    groups = ({*GROUPS} - {"experiment"}) | {"choices"}
    try:
        for group in groups:
            if not isinstance(config.get(group), DictConfig):
                raise UserError(f"{group} is missing; this is no run's configuration any more.")
        _compare(config, ours | dict.fromkeys(groups), "")
    except (UserError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from error


def _compare(config: DictConfig, ours: dict[str, Any], section: str) -> None:
    """Compares keys and their types with those of this version, where ``None`` stands for whatever there may be."""
    for name in map(str, config):
        if name not in ours:
            raise UserError(f"{section}{name}: no such key in this version of DreamSPI; take it out.")
    for name, default in ours.items():
        if name not in config:
            told = "" if isinstance(default, dict) or "${" in str(default) else f"; its default is {default}"
            raise UserError(f"{section}{name} is missing, which this version of DreamSPI needs{told}.")
        value = config[name]
        if isinstance(default, dict):
            if not isinstance(value, DictConfig):
                raise UserError(f"{section}{name}={value}: has keys of its own: {', '.join(default)}.")
            _compare(value, default, f"{name}.")
        elif default is not None:
            check_type(f"{section}{name}", value, default)


def _resumed(run_dir: Path, parsed: Iterable[Override]) -> DictConfig:
    config = load(run_dir)
    others = [o for o in parsed if o.key_or_group != "resume"]
    for override in others:
        if override.key_or_group not in RESUME_KEYS:
            raise UserError(
                f"{override.input_line}: a resumed run keeps its configuration, so that it ends as if it had "
                f"never stopped. With resume only these may be given: {', '.join(RESUME_KEYS)}. "
                "For anything else start a new run."
            )
    check_keys(others, config)
    for override in others:
        OmegaConf.update(config, override.key_or_group, override.value())
    config.resume = config.run_dir = str(run_dir)
    validate(config)
    return config


def check_device_name(name: object) -> None:
    """Raises unless it reads like a device; whether this machine has it, only torch can tell."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(name)):
        raise UserError(f"device={name}: must be cpu, cuda or cuda:<index>.")


def validate(config: DictConfig) -> None:
    """Checks of values that need no environment. Raises UserError at the first that can't be right."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]}: needs a value; write {missing[0]}=<value>.")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"seed={config.seed}: must be a whole number from 0 to 2^32 - 1.")
    for key in COUNTS:
        value = OmegaConf.select(config, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{key}={value}: must be a whole number of at least 1.")
    if config.certify_every % config.log_every:
        raise UserError(
            f"certify_every={config.certify_every}: must be a multiple of log_every={config.log_every}, as a "
            "certificate stands in a row of metrics.csv."
        )
    if not 0 <= config.gamma <= 1:
        raise UserError(f"gamma={config.gamma}: must be from 0 to 1.")
    if config.threads is not None and (not isinstance(config.threads, int) or config.threads < 1):
        raise UserError(f"threads={config.threads}: must be a whole number of at least 1, or null.")
    check_device_name(config.device)
    batch = config.num_envs * config.num_steps
    if config.total_steps < batch:
        raise UserError(
            f"total_steps={config.total_steps}: less than one batch of num_envs * num_steps = {batch} steps."
        )
    constant = config.planner.get("C")
    if constant is not None and not 1 < constant < 2:
        raise UserError(f"planner.C={constant}: must be above 1 and below 2 (the neighborhood is [2-C, C]).")
