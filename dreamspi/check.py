"""``dreamspi check``: does a world model keep the contract, and if not, what is wrong with it?"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from textwrap import shorten

from omegaconf import DictConfig
from torchrl.data import TensorSpec

from dreamspi.building import build_world_model, check_device, make_env, observed, refusals
from dreamspi.catalogue import options
from dreamspi.config import compose
from dreamspi.errors import EXIT_USER_ERROR, UserError
from dreamspi.machine import prepare
from dreamspi.misfits import FAULTS
from dreamspi.overrides import name_classes, parse
from world_models.checks import CHECKS, ONCE, Check, CheckFailed, Skipped, Subject, run, sentence
from world_models.checks.observations import KINDS
from world_models.checks.shapes import shapes
from world_models.contract import Unsuited, WorldModel

HELP = """\
usage: dreamspi check <world_model> [env=<environment>] [key=value ...]

Tries a world model on the contract (world_models/contract.py): shapes, gradients, sampling, distances, Lipschitz
constants, saved states, torch.compile, and whether it learns a chain of three states. One line for each check: ok,
FAILED (what was expected, what came, where to look) or skipped (why). Takes seconds.

  <world_model>        A name that `dreamspi list world_models` shows, the dotted name of a class
                       (my_package.model.MyModel), or all.
  env=<environment>    What to observe and how many actions there are. Without it: vectors, numbers, small and large
                       pictures, of which the model may refuse some.
  world_model.<key>=   Any key of the model; of a class +world_model.<argument>=.
  device=cpu           Where the model lives: cpu, cuda or cuda:<index>.

Exit codes: 0 all is well, 1 a check failed, 2 wrong input.
"""
EXIT_FAILED = 1
#: Actions of an agent that plays in no environment.
ACTIONS = 3


def parse_options(words: list[str]) -> list[list[str]]:
    """The overrides that configure each model which the words name.

    Raises:
        UserError: no model, or more than one but for ``all``.
    """
    names = [word for word in words if "=" not in word]
    overrides = name_classes(word for word in words if "=" in word)
    if len(names) + _chosen("world_model", overrides) != 1:
        allowed = ", ".join(["all", *options("world_model")])
        raise UserError(f"check {' '.join(words)}: name one world model. Allowed: {allowed}, or the name of a class.")
    if not names:
        return [overrides]
    return [[f"world_model={name}", *overrides] for name in (options("world_model") if names == ["all"] else names)]


def check(models: list[list[str]]) -> int:
    """Checks each model that overrides configure; of several, some may refuse what they are shown.

    Returns the exit code.

    Raises:
        UserError: wrong input, or a model alone that refuses.
    """
    prepare(threads=None)
    if len(models) == 1:
        with refusals():
            return _check_one(models[0])
    codes = [_unless_refused(overrides) for overrides in models]
    return max([code for code in codes if code is not None], default=EXIT_USER_ERROR)


def _unless_refused(overrides: list[str]) -> int | None:
    """The exit code of a model that the first override names; ``None`` where it refuses, which is told."""
    try:
        return _check_one(overrides)
    except Unsuited as refusal:
        print(f"{overrides[0]}\n  refused  {refusal}", flush=True)
        return None


def _chosen(group: str, overrides: list[str]) -> bool:
    return any(override.key_or_group == group for override in parse(overrides))


def _check_one(overrides: list[str]) -> int:
    """The exit code of one model. Raises ``Unsuited`` where it can't take what it is shown."""
    config = compose(overrides)
    check_device(config.device)
    subjects = _in_environment(config) if _chosen("env", overrides) else _on_every_kind(config)
    refused = {kind: _refusal(subject) for kind, subject in subjects.items()}
    if None not in refused.values():
        raise Unsuited("; ".join(dict.fromkeys(map(str, refused.values()))))
    print(f"world_model={config.choices.world_model}", flush=True)
    for kind, refusal in refused.items():
        if refusal is not None:
            print(f"  refused  {kind:<{WIDTH}} {refusal}")
            del subjects[kind]
    seen: set[str] = set()
    counts = Counter(_told(check, subjects, seen) for check in CHECKS)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())), end=".\n")
    return EXIT_FAILED if counts["FAILED"] else 0


def _in_environment(config: DictConfig) -> dict[str, Subject]:
    env = make_env(config, num_envs=1, training=True)
    subject = Subject(partial(_build, config), *observed(env), device=config.device)
    env.close()
    return {config.choices.env: subject}


def _on_every_kind(config: DictConfig) -> dict[str, Subject]:
    return {kind: Subject(partial(_build, config), spec, ACTIONS, config.device) for kind, spec in KINDS.items()}


def _refusal(subject: Subject) -> Unsuited | None:
    """The model's, in its own words. Raises ``UserError`` for arguments that its class does not take."""
    try:
        return subject.refusal()
    except UserError:
        raise
    except Exception:  # a fault of the model: the checks tell where
        return None


def _build(config: DictConfig, spec: TensorSpec, num_actions: int) -> WorldModel:
    try:
        return build_world_model(config, spec, num_actions)
    except UserError as error:
        if isinstance(error.__cause__, Unsuited):  # in the words of a refused training
            raise Unsuited(str(error)) from error
        if isinstance(error.__cause__, FAULTS):  # of the model: the checks tell where
            raise error.__cause__ from None
        raise


def _told(check: Check, subjects: Mapping[str, Subject], seen: set[str]) -> str:
    """Runs a check on every kind, or on the first if once is enough; prints its line; returns ok, FAILED or skipped.

    ``seen`` holds the errors and names of earlier checks that failed: one that meets another check on its way is told
    once. After shapes that are wrong, whatever comes to grief may do so by these, and is told in one line.
    """
    reason, passed = "", False
    for kind in list(subjects)[: 1 if check in ONCE else None]:
        try:
            with _quietly():
                run(check, subjects[kind])
            passed = True
        except Skipped as skipped:
            reason = str(skipped)
        except CheckFailed as failure:
            again = failure.got + failure.look_at in seen
            follows = failure.__cause__ is not None and shapes.__name__ in seen
            seen |= {failure.got + failure.look_at, check.__name__}
            told = "".join(f"\n           {line}" for line in str(failure).splitlines())
            if again:
                told = ", by the same error"
            elif follows:
                told = f", perhaps by what shapes found: {shorten(failure.got, 70)}"
            print(f"  FAILED   {check.__name__:<{WIDTH}} on {kind}{told}", flush=True)
            return "FAILED"
    status = "ok" if passed else "skipped"
    print(f"  {status:<8} {check.__name__:<{WIDTH}} {sentence(check) if passed else reason}", flush=True)
    return status


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's warnings and logs between the lines: what they are about, a check tells."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


WIDTH = max(len(check.__name__) for check in CHECKS)
