"""Checks of what was typed after ``dreamspi train``, before Hydra sees it: names, keys, types."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator
from importlib import import_module
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from dreamspi.catalogue import ANY_NAME, GROUPS, all_environments, env_names, options, outside, own_options
from dreamspi.errors import UserError, nearest, unknown
from dreamspi.outside import ENTRY_POINTS, is_class

#: Keys that count something.
COUNTS = (
    "num_envs",
    "num_steps",
    "total_steps",
    "log_every",
    "certify_every",
    "collector.workers",
    "checkpoint.every",
    "checkpoint.keep",
    "checkpoint.barrier",
)


def parse(overrides: Iterable[str]) -> list[Override]:
    """Parses ``key=value`` words in Hydra's grammar."""
    parser = OverridesParser.create()
    parsed = []
    for word in overrides:
        try:
            parsed.append(parser.parse_override(word))
        except HydraException as error:
            if "=" not in word and os.path.isfile(os.path.join(word, "config.yaml")):
                raise UserError(
                    f"{word}: is a run's directory; write run={word}, or to train on resume={word}."
                ) from error
            raise UserError(
                f"{word}: not understood; write key=value without spaces, for example env=maze seed=1. "
                "A value with special characters goes into quotes: 'run_dir=\"my run\"'."
            ) from error
    return parsed


def quoted(value: object) -> str:
    """A text in Hydra's grammar, whatever characters it has: a backslash is only special before a quote."""
    text = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), str(value))
    return f"'{text}'"


def is_hydra(override: Override) -> bool:
    """True for Hydra's own keys (``hydra.sweep.dir=...``), which are Hydra's to check."""
    return override.key_or_group.split(".")[0].split("/")[0] == "hydra"


def is_group(override: Override) -> bool:
    """True for a choice such as ``env=maze``."""
    return override.key_or_group in GROUPS


def values(override: Override) -> list[Any]:
    """The values of an override: several where it is a sweep over choices."""
    value = override.value()
    found = value.list if isinstance(value, ChoiceSweep) else [value]
    return [item.text if isinstance(item, QuotedString) else item for item in found]


def group_choices(parsed: Iterable[Override], group: str) -> Iterator[str]:
    """The options typed for a group."""
    for override in parsed:
        if override.key_or_group == group:
            yield from (str(value) for value in values(override) if value is not None)


def name_classes(overrides: Iterable[str]) -> list[str]:
    """Writes ``world_model._target_=<class>`` as ``world_model=<class>`` where no ``world_model=`` stands beside it:
    a class by itself must not get the keys of the default model. So for every group that takes classes."""
    words = list(overrides)
    typed = {override.key_or_group for override in parse(words)}
    for group in ENTRY_POINTS:
        if group not in typed:
            target = f"{group}._target_="
            words = [
                f"{group}={word.lstrip('+')[len(target) :]}" if word.lstrip("+").startswith(target) else word
                for word in words
            ]
    return words


def as_meant(overrides: Iterable[str]) -> list[str]:
    """Where a number's form is not what was meant: ``run_dir=2024_01`` is not 202401, and of the keys that count
    something ``total_steps=1e6`` is 1000000."""
    words = list(overrides)
    for i, override in enumerate(parse(words)):
        key, value = override.key_or_group, override.value()
        if override.is_delete():
            continue
        if key in ("run_dir", "resume") and isinstance(value, int | float):
            words[i] = f"{key}={quoted(words[i].partition('=')[2])}"
        elif key in COUNTS and isinstance(value, float) and value.is_integer():
            words[i] = f"{key}={int(value)}"
    return words


def check_groups(parsed: Iterable[Override]) -> None:
    """Raises for an option that does not exist, with the nearest that do."""
    for override in filter(is_group, parsed):
        group = override.key_or_group
        if override.is_delete() or override.is_add():
            raise UserError(f"{override.input_line}: write {group}=<name>, without a sign in front.")
        if override.is_sweep_override() and not isinstance(override.value(), ChoiceSweep):
            continue
        for value in values(override):
            if value is None and group == "experiment":
                continue
            name = str(value).partition("/")[0]
            brought = outside(group).get(name)
            if brought is not None and brought.problem and name not in own_options(group):
                raise UserError(brought.told())
            if group in ENTRY_POINTS and is_class(str(value)):
                continue  # only its import can tell
            if group == "env":
                check_environment(str(value))
            elif str(value) not in options(group):
                raise unknown(group, value, options(group))


def check_environment(value: str) -> None:
    """Raises unless ``value`` is a family or ``<family>/<name>``."""
    family, slash, name = value.partition("/")
    if family not in options("env"):
        shown = [f"{f}/<name>" if env_names(f) else f for f in options("env")]
        raise unknown("env", value, shown, all_environments())
    names = env_names(family)
    if not slash or names == [ANY_NAME]:
        if slash and not name:
            raise UserError(f"env={value}: nothing after the slash; write env={family}/<name>.")
        return
    if not names:
        raise UserError(f"env={value}: {family} has no names after a slash; write env={family}.")
    if name not in names:
        raise unknown("env", value, [f"{family}/{n}" for n in names])


def dotted_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every key of a configuration, parents included, in dotted form."""
    for name in config:
        key = f"{prefix}{name!s}"
        yield key
        if isinstance(child := config._get_node(name), DictConfig) and not child._is_none():
            yield from dotted_keys(child, key + ".")


def check_keys(parsed: Iterable[Override], base: DictConfig, classes: Container[str] = ()) -> None:
    """Raises for a key that the chosen environment, model and planner do not have, or a wrong type.

    ``classes`` are the groups for which a class was named: they take any key that is added. So does a part of a group,
    as another ``_target_`` may have other arguments; what it does not take, its constructor refuses.
    """
    known = list(dotted_keys(base))
    for override in parsed:
        key = override.key_or_group
        if override.is_delete():
            raise UserError(f"{override.input_line}: keys can't be removed; set a value, or null.")
        section = key.rpartition(".")[0]
        if key not in known and override.is_add() and "." in section and f"{section}._target_" in known:
            continue
        if key not in known and key.partition(".")[0] in classes:
            if override.is_add():
                continue
            raise UserError(f"{override.input_line}: to give the class this argument, write +{override.input_line}.")
        if key not in known:
            raise unknown_key(key, known)
        for value in values(override):
            check_type(key, value, OmegaConf.select(base, key))


def unknown_key(key: str, known: Iterable[str]) -> UserError:
    """The error for a key that nothing reads, with the nearest keys that exist."""
    keys = [k for k in known if not k.rpartition(".")[2].startswith("_")]
    last = key.rpartition(".")[2]
    # A key typed without its section is the commonest mistake, so the same last word comes first.
    same = [k for k in keys if k.rpartition(".")[2].lower() == last.lower()]
    close = (same + [k for k in nearest(key, keys) if k not in same])[:3]
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    section = key.rpartition(".")[0]
    beside = [k.rpartition(".")[2] for k in keys if section and k.rpartition(".")[0] == section]
    listed = f"Keys of {section}: {', '.join(beside)}." if beside else "`dreamspi train --help` lists them."
    return UserError(f"{key}: no such key here.{hint} {listed}")


def check_type(key: str, value: Any, default: Any) -> None:
    """The type of the default is the type of the key; a text or null default takes any scalar, a part's null a list."""
    if isinstance(value, str) and "${" in value:
        return  # an interpolation: known only when it is resolved
    if value is None and "." in key:
        return  # null switches a part off; whether it may is its constructor's to say
    if isinstance(default, str) and isinstance(value, dict) and "_target_" in value:
        return  # a class in the place of a name; whether it may is the reader's to say
    if isinstance(default, DictConfig) and not isinstance(value, dict):
        raise UserError(f"{key}={value}: {_parts(key, value, default)}")
    expected = ""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            expected = "true or false"
    elif isinstance(default, int):
        if isinstance(value, bool) or not isinstance(value, int):
            expected = "a whole number"
    elif isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            expected = "a number"
    elif default is None and isinstance(value, list) and "." in key:
        return  # whether it may be a list is its constructor's to say
    elif isinstance(default, str | None) and isinstance(value, list | dict):
        expected = "a word"
    if isinstance(value, dict) and isinstance(default, int | float):
        expected = expected or "a number"
    if expected:
        raise UserError(f"{key}={value}: must be {expected}; its default is {default}.")


def _parts(key: str, value: Any, default: DictConfig) -> str:
    """What to write in the place of a single value for a section."""
    target = default.get("_target_")
    if target is None:
        return f"has keys of its own, which are set one by one: {', '.join(f'{key}.{name!s}' for name in default)}."
    module = str(target).rpartition(".")[0]
    there = _classes(module)
    near = [name for name in there if name.lower() == str(value).lower()] or nearest(value, there)
    named = f"{module}.{near[0]}" if near else target
    return f"is built by a class; write {key}._target_={named}, for example. Its default is {target}."


def _classes(module: str) -> list[str]:
    """Public classes that a module or package defines; none where it can't be imported."""
    try:
        found = vars(import_module(module))
    except ImportError:
        return []
    ours = {name: c for name, c in found.items() if isinstance(c, type) and not name.startswith("_")}
    return [name for name, c in ours.items() if f"{c.__module__}.".startswith(f"{module}.")]
