"""What a study compares: environments, arms and seeds, and the trainings (*cells*) that these make."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.overrides import parse

#: Keys of a run that say where it lies, how it is shown, or on how many cores it goes, not what it computes.
INDIFFERENT = ("run_dir", "resume", "logger", "checkpoint.keep", "choices.run_id", "choices.root")


class Arm(NamedTuple):
    """One of the things that are compared: a name, and the words of ``dreamspi train`` that make it."""

    name: str
    overrides: tuple[str, ...]


class Design(NamedTuple):
    """A whole comparison; every combination of environment, arm and seed is one training.

    Attributes:
        environments: by name, the words that only this environment's trainings get, such as ``total_steps=100000``.
        arms: what is compared.
        seeds: of the trainings.
        fixed: words that every training gets.
    """

    environments: Mapping[str, tuple[str, ...]]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    fixed: tuple[str, ...] = ()


class Cell(NamedTuple):
    """One training of a study.

    Attributes:
        id: its name, also of its directory: environment, arm and seed, and a digest of its configuration.
        env: name of its environment, as in ``env=<name>``.
        arm: name of its arm.
        seed: its seed.
        overrides: the words of ``dreamspi train`` that make it.
        steps: its budget in environment steps.
        threads: cores that it takes.
    """

    id: str
    env: str
    arm: str
    seed: int
    overrides: tuple[str, ...]
    steps: int
    threads: int


def cells(design: Design) -> list[Cell]:
    """The trainings of a design, seed by seed: so that a study that is stopped early has some of everything.

    Raises:
        UserError: a combination that ``dreamspi train`` refuses; the message begins with the combination.
    """
    composed: dict[tuple[str, str], tuple[tuple[str, ...], DictConfig]] = {}
    for env, arm in itertools.product(design.environments, design.arms):
        words = _last_wins([*design.fixed, f"env={env}", *design.environments[env], *arm.overrides])
        try:
            composed[env, arm.name] = words, compose(words)
        except UserError as error:
            raise UserError(f"env={env}, arm {arm.name}: {error}") from error
    return [
        _cell(env, arm.name, seed, *composed[env, arm.name])
        for seed, env, arm in itertools.product(design.seeds, design.environments, design.arms)
    ]


def _cell(env: str, arm: str, seed: int, words: tuple[str, ...], config: DictConfig) -> Cell:
    config = config.copy()
    OmegaConf.update(config, "seed", seed)
    name = "-".join(re.sub(r"[^\w.=+]+", "_", word) for word in (env, arm, f"s{seed}"))
    return Cell(
        f"{name}-{digest(config)}",
        env,
        arm,
        seed,
        (*words, f"seed={seed}"),
        config.total_steps,
        config.threads or cores(),
    )


def digest(config: DictConfig) -> str:
    """Eight hexadecimal digits that differ where two configurations compute something different."""
    return hashlib.sha256(repr(sorted(settings(config).items())).encode()).hexdigest()[:8]


def settings(config: DictConfig) -> dict[str, Any]:
    """All of a configuration that a result depends on, by dotted key."""
    flat = dict(_flat(OmegaConf.to_container(config, resolve=True)))
    return {
        key: value
        for key, value in flat.items()
        if not any(key == name or key.startswith(f"{name}.") for name in INDIFFERENT)
    }


def _flat(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _last_wins(words: Sequence[str]) -> tuple[str, ...]:
    """The words without those that a later one for the same key makes void."""
    last = {override.key_or_group: word for override, word in zip(parse(words), words, strict=True)}
    return tuple(last.values())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
