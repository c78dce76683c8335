"""From configuration to objects: the environment, the world model, the planner."""

from __future__ import annotations

import inspect
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pydoc import ErrorDuringImport, locate
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torchrl.data import TensorSpec

from dreamspi.config import RUNNER_KEYS
from dreamspi.envs.base import VectorEnv
from dreamspi.errors import UserError, nearest
from dreamspi.trial import is_from_outside, try_out
from planners.planner import Planner
from world_models.contract import Unsuited, WorldModel


def build(config: DictConfig, key: str, without: tuple[str, ...] = (), **more: Any) -> Any:
    """What section ``key`` of the configuration describes.

    Args:
        config: the whole configuration.
        key: name of the section.
        without: keys of the section that its constructor does not take.
        more: further arguments of the constructor.

    Raises:
        UserError: if the constructor refuses its arguments, in whatever way, or a package is missing.
            With ``HYDRA_FULL_ERROR=1`` the cause is raised as it is.
    """
    written = OmegaConf.to_container(config[key], resolve=True)
    assert isinstance(written, dict)
    section = {str(name): value for name, value in written.items() if name not in without}
    refuse_misfits(key, section)
    try:
        # A spec is a dataclass, which Hydra would take for configuration: it gets only what was written.
        return instantiate(section, _convert_="all", _partial_=True)(**more)
    except (
        InstantiationException,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        ImportError,
    ) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise UserError(_message(error, f"{key}={config.choices.get(key, key)}")) from error


def refuse_misfits(key: str, section: Mapping[str, Any]) -> None:
    """Raises ``UserError`` for a null, somewhere in a section, where the class that it is for can't do without, and
    for a single value in the place of a part."""
    target = section.get("_target_")
    for name, value in section.items():
        if isinstance(value, dict):
            refuse_misfits(f"{key}.{name}", value)
        elif isinstance(target, str):
            kind = _annotation(target, name)
            if value is None and kind and not _NULLABLE.search(kind):
                raise UserError(f"{key}.{name}=null: {target} can't do without it ({kind}).")
            if value is not None and _PART.match(kind):
                null = ", or null" if _NULLABLE.search(kind) else ""
                raise UserError(f"{key}.{name}={value}: is built by a class: write {key}.{name}._target_=...{null}.")


_NULLABLE, _PART = re.compile(r"\bNone|\bOptional\b|\bAny\b|\bobject\b"), re.compile(r"(Callable|Part)( \| None)?$")


def _annotation(target: str, name: str) -> str:
    """What an argument is annotated with, without what stands in brackets; nothing where that can't be told, or where
    null is its default."""
    try:
        found = locate(target)
        kinds = found.__mro__ if isinstance(found, type) else ()
        builders = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)] or [found]
        parameters = [inspect.signature(each).parameters for each in builders if callable(each)]
    except (ErrorDuringImport, ValueError, TypeError):  # Hydra will say what is wrong with it
        return ""
    first = next((each[name] for each in parameters if name in each), None)
    if first is None or first.annotation is first.empty or first.default is None:
        return ""
    told = str(first.annotation)
    return told if "Optional[" in told or "Union[" in told else re.sub(r"\[.*\]", "", told)


def _message(error: BaseException, section: str) -> str:
    """The cause in its own words, with the section in front unless it names a key of it."""
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    if named := re.match(r"Error loading '([\w.]+)'", str(cause)):  # Hydra's words, which guess
        return f"{section}: {_absent(named[1])}"
    return str(cause) if "=" in str(cause).partition(":")[0] else f"{section}: {cause}"


def _absent(path: str) -> str:
    """Why a dotted name of a class leads nowhere."""
    module, _, name = path.rpartition(".")
    try:
        found = vars(import_module(module))
    except Exception as error:  # whatever a file does when it is read
        frames = [frame for frame in traceback.extract_tb(error.__traceback__)[1:] if "importlib" not in frame.filename]
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        return f"{path}: {type(error).__name__}: {error}{place}"
    close = nearest(name, [each for each in found if isinstance(found[each], type)])
    return f"{module} has no {name}." + (f" Did you mean {' or '.join(close)}?" if close else "")


def make_env(config: DictConfig, num_envs: int, training: bool) -> VectorEnv:
    """``num_envs`` copies of the environment, as the learner (``training``) or as an examiner sees it."""
    return build(config, "env", RUNNER_KEYS, num_envs=num_envs, training=training, gamma=config.gamma)


def check_device(name: str) -> None:
    """Raises unless ``cpu``, ``cuda`` or ``cuda:<index>`` is a device of this machine."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name != "cpu" and (torch.device(name).index or 0) >= found:
        present = ", ".join(["cpu", *(f"cuda:{index}" for index in range(found))])
        raise UserError(f"device={name}: torch finds no such device here. Allowed: {present}.")


def build_world_model(config: DictConfig, spec: TensorSpec, num_actions: int) -> WorldModel:
    """The world model for observations of a spec, without batch dimensions."""
    model = build(config, "world_model", observation_spec=spec, num_actions=num_actions)
    if not isinstance(model, WorldModel):
        kind = type(model).__name__
        raise UserError(
            f"world_model={config.choices.world_model}: {kind} is no subclass of world_models.contract.WorldModel."
        )
    return model


def make_world_model(config: DictConfig, env: VectorEnv) -> WorldModel:
    """The world model for an environment, on the configured device. One that is not all ours is tried out first.

    Raises:
        UserError: if this machine has no such device, or the model does not keep its contract.
    """
    check_device(config.device)
    spec, num_actions = env.observation_spec["observation"][0], int(env.action_spec.space.n)
    model = build_world_model(config, spec, num_actions)
    if is_from_outside(OmegaConf.to_container(config.world_model, resolve=True)):
        try_out(config.choices.world_model, partial(build_world_model, config), spec, num_actions)
    return model.to(config.device)


@contextmanager
def refusals() -> Iterator[None]:
    """Within, a world model that can't go on with what the environment shows tells the user, as a ``UserError``."""
    try:
        yield
    except Unsuited as error:
        raise UserError(str(error)) from error


def make_planner(config: DictConfig, env: VectorEnv) -> Planner:
    """The planner, with the world model that it improves, on the configured device."""
    batch_shape = (config.num_envs, config.num_steps)
    return build(config, "planner", world_model=make_world_model(config, env), batch_shape=batch_shape)
