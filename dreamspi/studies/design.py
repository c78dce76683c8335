"""What a study compares: environments, arms and seeds, and the trainings (*cells*) that these make."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from dreamspi.config import RESUME_KEYS, compose
from dreamspi.cores import cores
from dreamspi.errors import UserError
from dreamspi.overrides import parse

#: Keys of a run that say where it lies and runs, and how it is shown, not what it computes.
INDIFFERENT = (
    *("run_dir", "resume", "logger", "choices.run_id", "choices.root"),
    *RESUME_KEYS,
)
#: Bytes of a cell's id that say what it is; a file's name may have 255, and others are made from it.
READABLE = 150


class Arm(NamedTuple):
    """One of the things that are compared: a name, and the words of ``dreamspi train`` that make it."""

    name: str
    overrides: tuple[str, ...]


class Design(NamedTuple):
    """A whole comparison; every combination of environment, arm and seed is one training.

    Attributes:
        environments: by name, the words that only this environment's trainings get, such as ``total_steps=100000``. The
            name ``""`` stands for the environment that the other words choose.
        arms: what is compared.
        seeds: of the trainings.
        fixed: words that every training gets, unless its environment or its arm says otherwise.
        typed: words that every training gets, whatever else is said.
    """

    environments: Mapping[str, tuple[str, ...]]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    fixed: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()


class Cell(NamedTuple):
    """One training of a study.

    Attributes:
        id: its name, also of its directory: environment, arm and seed, and the digest.
        env: its environment, as in ``env=<name>``.
        arm: name of its arm.
        seed: its seed.
        overrides: the words of ``dreamspi train`` that make it.
        steps: its budget in environment steps.
        threads: cores that it takes.
        digest: of all that it computes but for the seed; see ``digest``.
    """

    id: str
    env: str
    arm: str
    seed: int
    overrides: tuple[str, ...]
    steps: int
    threads: int
    digest: str


def cells(design: Design) -> list[Cell]:
    """The trainings of a design, seed by seed: so that a study that is stopped early has some of everything.

    Raises:
        UserError: a combination that ``dreamspi train`` refuses; the message begins with the combination.
    """
    composed: dict[tuple[str, str], tuple[tuple[str, ...], DictConfig]] = {}
    for env, arm in itertools.product(design.environments, design.arms):
        chosen = [f"env={env}"] if env else []
        words = last_wins([*design.fixed, *chosen, *design.environments[env], *arm.overrides, *design.typed])
        try:
            composed[env, arm.name] = words, compose(words)
        except UserError as error:
            raise UserError(f"{''.join(f'{word}, ' for word in chosen)}arm {arm.name}: {error}") from error
    return [
        _cell(arm.name, seed, *composed[env, arm.name])
        for seed, env, arm in itertools.product(design.seeds, design.environments, design.arms)
    ]


def _cell(arm: str, seed: int, words: tuple[str, ...], config: DictConfig) -> Cell:
    env, computed = config.choices.env, digest(config)
    name = "-".join(re.sub(r"[^\w.=+]+", "_", word) for word in (env, arm))
    name = name.encode()[:READABLE].decode(errors="ignore")
    return Cell(
        id=f"{name}-s{seed}-{computed}",
        env=env,
        arm=arm,
        seed=seed,
        overrides=(*words, f"seed={seed}"),
        steps=config.total_steps,
        threads=config.threads or cores(),
        digest=computed,
    )


def digest(config: DictConfig) -> str:
    """Eight hexadecimal digits that differ where two configurations compute something different, seeds apart."""
    found = {key: value for key, value in settings(config).items() if key != "seed"}
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:8]


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
    else:  # gamma=1 is gamma=1.0
        yield prefix, int(node) if isinstance(node, float) and node.is_integer() else node


def last_wins(words: Sequence[str]) -> tuple[str, ...]:
    """The words without those that a later one for the same key makes void."""
    last: dict[str, str] = {}
    for override, word in zip(parse(words), words, strict=True):
        last.pop(override.key_or_group, None)
        last[override.key_or_group] = word
    return tuple(last.values())
