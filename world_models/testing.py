"""The contract's checks as pytest tests, one per check and kind of observation, for a model of one's own:

from world_models.testing import world_model_checks

test_my_model = world_model_checks("my_package.model.MyModel", hidden=32)
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from torchrl.data import TensorSpec

from world_models.checks import CHECKS, ONCE, Build, Check, CheckFailed, Skipped, Subject, first_suited, run
from world_models.checks.observations import KINDS
from world_models.contract import Unsuited, WorldModel


def world_model_checks(
    model: type[WorldModel] | str, observation_spec: TensorSpec | None = None, num_actions: int = 3, **arguments: Any
) -> Callable[..., None]:
    """A test function, to be bound to a name that begins with ``test``.

    Args:
        model: the class, or where it is.
        observation_spec: spec of one observation; without it, every kind that the model does not refuse.
        num_actions: size of the action set.
        arguments: further arguments of the class.
    """

    def build(spec: TensorSpec, actions: int) -> WorldModel:
        found = pkgutil.resolve_name(model) if isinstance(model, str) else model
        return found(spec, actions, **arguments)

    kinds = KINDS if observation_spec is None else {"given": observation_spec}

    @pytest.mark.parametrize(("check", "subjects"), cases(build, kinds, num_actions))
    def test(check: Check, subjects: Sequence[Subject]) -> None:
        verify(check, subjects)

    return test


def cases(build: Build, kinds: Mapping[str, TensorSpec] = KINDS, num_actions: int = 3, name: str = "") -> list[Any]:
    """Parameters ``(check, subjects)`` of one test each; a check that is made once takes the first that suits."""
    subjects = {kind: Subject(build, spec, num_actions) for kind, spec in kinds.items()}
    found = []
    for check in CHECKS:
        for kind, subject in [("", None)] if check in ONCE else subjects.items():
            words = [word for word in (name, check.__name__, kind) if word]
            tried = list(subjects.values()) if subject is None else [subject]
            found.append(pytest.param(check, tried, id="-".join(words)))
    return found


def verify(check: Check, subjects: Sequence[Subject]) -> None:
    """Runs a check as a test: fails with what the contract expects, skips where the check does not apply."""
    try:
        run(check, first_suited(subjects))
        return
    except Unsuited as error:
        if check not in ONCE:
            pytest.skip(f"the model {error}")
        told = f"the model refuses every observation that it was tried on: it {error}"
    except Skipped as reason:
        pytest.skip(str(reason))
    except CheckFailed as failure:
        told = str(failure)
    pytest.fail(told, pytrace=False)  # here, so that no traceback leads up to it
