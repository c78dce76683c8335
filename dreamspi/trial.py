"""What a training must pass before it begins: that its parts suit each other, and a world model from outside the part
of its contract that takes no time."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from omegaconf import DictConfig

from dreamspi.building import build_world_model, check_device, make_env, observed, refusals
from dreamspi.errors import UserError
from dreamspi.training import Training
from planners.planner import Planner
from world_models.contract import Unsuited


def tried(config: DictConfig) -> Training:
    """The training that a configuration describes, after all that can be tried of it without playing.

    Raises:
        UserError: its parts can't be built, or don't suit each other.
    """
    try_out(config)
    training = Training(config)
    try:
        try_losses(config, training.planner)
    except BaseException:
        training.close()
        raise
    return training


def is_from_outside(section: object) -> bool:
    """Whether anything that a section of the configuration builds is not of ``world_models``, whose classes our own
    tests have tried."""
    if isinstance(section, Mapping):
        target = section.get("_target_", "world_models.")
        return not str(target).startswith("world_models.") or is_from_outside(section.values())
    return isinstance(section, Iterable) and not isinstance(section, str) and any(map(is_from_outside, section))


def try_out(config: DictConfig) -> None:
    """Makes a world model that is not all ours as for training, and asks each of its methods once.

    Raises:
        UserError: something has the wrong shape or type, is not finite, or fails.
    """
    if not is_from_outside(config.world_model):
        return
    from world_models.checks import CheckFailed, Subject, run  # which those with models of ours need not wait for
    from world_models.checks.shapes import probabilities, shapes

    check_device(config.device)
    env = make_env(config, num_envs=1, training=True)
    sizes = observed(env)
    env.close()
    build_world_model(config, *sizes)  # what its constructor refuses is no matter of shapes
    subject = Subject(partial(build_world_model, config), *sizes, device=config.device)
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, of what is told below
            for check in (shapes, probabilities):
                run(check, subject)
    except Unsuited:  # by observations at random: of those that it will meet training tells
        return
    except CheckFailed as failure:
        told = f"expected {failure.expected.rstrip('.')}; got {failure.got}; look at {failure.look_at}"
        raise UserError(
            f"world_model={config.choices.world_model}: {told}. `dreamspi check` with the same env= and world_model "
            "words tries all of it."
        ) from failure


def try_losses(config: DictConfig, planner: Planner) -> None:
    """Asks a copy of a world model of ours, if it is to learn, for the losses of two transitions, with random numbers
    that training does not miss. One from outside has been asked by ``try_out``.

    Raises:
        UserError: a cost is not for the transitions of this model.
    """
    if not planner.learns_model or is_from_outside(config.world_model):
        return
    model, device = copy.deepcopy(planner.agent.world_model), planner.device
    latent, number = torch.zeros(2, *model.latent_spec.shape, device=device), torch.zeros(2, device=device)
    with refusals(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.local_losses(latent, number.long(), number, latent, number.bool())
