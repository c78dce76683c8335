"""What a world model from outside must pass before it is trained: the part of its contract that takes no time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

from torchrl.data import TensorSpec

from dreamspi.errors import UserError
from world_models.contract import WorldModel


def is_from_outside(section: object) -> bool:
    """Whether anything that a section of the configuration builds is not of ``world_models``, whose classes our own
    tests have tried."""
    if isinstance(section, dict):
        target = section.get("_target_", "world_models.")
        return not str(target).startswith("world_models.") or is_from_outside(section.values())
    return isinstance(section, Iterable) and not isinstance(section, str) and any(map(is_from_outside, section))


def try_out(name: str, make: Callable[[TensorSpec, int], WorldModel], spec: TensorSpec, num_actions: int) -> None:
    """Makes a world model as for training and asks each of its methods once, on a generator of its own.

    Args:
        name: what the user calls it.
        make: builds it from the spec of one observation and the number of actions.

    Raises:
        UserError: something has the wrong shape or type, is not finite, or fails.
    """
    from world_models.checks import CheckFailed, Subject, run
    from world_models.checks.shapes import probabilities, shapes

    subject = Subject(make, spec, num_actions)
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, of what is told below
            for check in (shapes, probabilities):
                run(check, subject)
    except CheckFailed as failure:
        told = f"expected {failure.expected.rstrip('.')}; got {failure.got}; look at {failure.look_at}"
        raise UserError(f"world_model={name}: {told}. `dreamspi check {name}` tries all of it.") from failure
