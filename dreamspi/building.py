"""From configuration to objects: the environment, the world model, the planner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torchrl.data import TensorSpec

from dreamspi.config import RUNNER_KEYS
from dreamspi.envs.base import VectorEnv
from dreamspi.errors import UserError
from dreamspi.misfits import message, refuse_misfits
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
        LookupError,
        AssertionError,
        ArithmeticError,
        RuntimeError,
        ImportError,
    ) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise UserError(message(error, f"{key}={config.choices.get(key, key)}")) from error


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


def observed(env: VectorEnv) -> tuple[TensorSpec, int]:
    """The spec of one observation, without batch dimensions, and the number of actions."""
    return env.observation_spec["observation"][0], int(env.action_spec.space.n)


def make_world_model(config: DictConfig, env: VectorEnv) -> WorldModel:
    """The world model for an environment, on the configured device.

    Raises:
        UserError: if this machine has no such device.
    """
    check_device(config.device)
    return build_world_model(config, *observed(env)).to(config.device)


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
