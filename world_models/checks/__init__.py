"""The contract's checks: each a function of a ``Subject`` that returns, or raises ``CheckFailed`` or ``Skipped``.

``dreamspi check`` and ``world_models.testing`` run the same ones. The first line of a check's docstring says
what holds when it passes.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable

import torch

from world_models.checks.beliefs import beliefs
from world_models.checks.distances import distances, distances_bound_wasserstein
from world_models.checks.gradients import gradients_arrive, gradients_stop, losses_are_per_transition, roles
from world_models.checks.learning import learns_a_chain
from world_models.checks.lipschitz import lipschitz
from world_models.checks.outcome import CheckFailed, Skipped, is_torch_s
from world_models.checks.sampling import densities, dreams, samples
from world_models.checks.shapes import devices, folding, probabilities, shapes
from world_models.checks.state import compiles, seeds, state_dict, weights_are_followed
from world_models.checks.subject import Build, Subject
from world_models.contract import Unsuited

__all__ = ["CHECKS", "ONCE", "Build", "Check", "CheckFailed", "Skipped", "Subject", "first_suited", "run", "sentence"]

Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    shapes,
    folding,
    devices,
    beliefs,
    roles,
    gradients_arrive,
    gradients_stop,
    losses_are_per_transition,
    samples,
    dreams,
    densities,
    probabilities,
    distances,
    distances_bound_wasserstein,
    lipschitz,
    state_dict,
    seeds,
    weights_are_followed,
    compiles,
    learns_a_chain,
)
#: Checks that take seconds, so that one kind of observation must do where there are several.
ONCE: tuple[Check, ...] = (compiles, learns_a_chain)


def first_suited(subjects: Iterable[Subject]) -> Subject:
    """The first of them whose observations the model takes. Raises ``Unsuited`` if it refuses all."""
    refusal = None
    for subject in subjects:
        refusal = subject.refusal()
        if refusal is None:
            return subject
    raise refusal or Unsuited("was tried on nothing")


def run(check: Check, subject: Subject) -> None:
    """Runs one check, on a generator of its own.

    Raises:
        CheckFailed: what is wrong; an error of the model itself is told in the same form.
        Skipped: the check does not apply here.
        Unsuited: the model can't take such observations.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            check(subject)
        except (CheckFailed, Skipped, Unsuited):
            raise
        except Exception as error:
            raise CheckFailed(
                f"no error: {sentence(check)}", f"{type(error).__name__}: {error}", _place(error, subject)
            ) from error


def sentence(check: Check) -> str:
    """What holds when a check passes: the first line of its docstring."""
    return (inspect.getdoc(check) or "").partition("\n")[0]


def _place(error: Exception, subject: Subject) -> str:
    """Where an error came from: the last line of the model's own file, or at least the last that is not torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    model = vars(subject).get("model")  # not there if it can't be built
    own = inspect.getfile(type(model)) if model is not None else ""
    mine = [frame for frame in frames if frame.filename == own]
    others = [frame for frame in frames if not is_torch_s(frame.filename)]
    frame = (mine or others or frames)[-1]
    return f"{frame.filename}:{frame.lineno}, in {frame.name}"
