"""From the words after ``dreamspi study``, and a preset's YAML file, to a design."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.types import Override, QuotedString

from dreamspi.catalogue import options, path_of
from dreamspi.config import expand
from dreamspi.errors import UserError, unknown
from dreamspi.overrides import parse, values
from dreamspi.studies.design import Arm, Design

#: What a preset may say, besides any key of `dreamspi train`, which goes under ``fixed``.
PRESET_KEYS = ("env", "planner", "world_model", "variants", "arms", "seeds", "fixed", "threads")
#: The dimensions whose values may be listed.
AXES = ("env", "planner", "world_model")
#: A study's name is a directory's.
NAME = re.compile(r"[\w.=+-]+")


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        path: directory of the study.
        design: what it compares; ``None`` to go on with what it compared before.
        launcher: words that say where it runs, such as ``launcher=ray``.
        retry: failed cells are tried again.
        dry: nothing runs; what would is shown.
    """

    path: Path
    design: Design | None
    launcher: tuple[str, ...]
    retry: bool
    dry: bool


def read(words: Sequence[str]) -> Request:
    """The request that the words make.

    Raises:
        UserError: a preset, a key or a value that can't be right. Combinations are not looked into: see ``cells``.
    """
    own: dict[str, Override] = {}
    launcher, rest = [], []
    for word, override in zip(words, parse(words), strict=True):
        key = override.key_or_group
        if key in ("name", "study", "root", "seeds", "retry", "dry", "threads", *AXES):
            own[key] = override
        elif key == "launcher" or key.startswith("launcher."):
            launcher.append(word)
        elif key in ("seed", "run_dir", "resume"):
            better = {"seed": "seeds=3 or seeds=[1,2,3]", "run_dir": "name=<study>", "resume": "name=<study> alone"}
            raise UserError(f"{word}: a study gives every training its own; write {better[key]}.")
        else:
            rest.append((word, override))
    preset = _preset(_scalar(own.get("study"), str, None))
    name = _scalar(own.get("name"), str, _scalar(own.get("study"), str, None))
    if name is None:
        raise UserError("name=<study> is missing: it names the study's directory under studies/.")
    if not NAME.fullmatch(name):
        raise UserError(f"name={name}: must be made of letters, digits and . _ = + -, as it names a directory.")
    asked = {key: _value(own[key]) for key in (*AXES, "seeds", "threads") if key in own}
    nothing = not preset and not asked and not rest
    return Request(
        path=Path(_scalar(own.get("root"), str, "studies")) / name,
        design=None if nothing else _design(preset | asked, rest),
        launcher=tuple(launcher),
        retry=_scalar(own.get("retry"), bool, False),
        dry=_scalar(own.get("dry"), bool, False),
    )


def _preset(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    if name not in options("study"):
        raise unknown("study", name, options("study"))
    path = path_of("study", name)
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for key in content:
        if key not in PRESET_KEYS:
            raise UserError(f"{path}: {unknown('key', key, PRESET_KEYS)}")
    return content


def _design(asked: Mapping[str, Any], rest: Sequence[tuple[str, Override]]) -> Design:
    swept = [word for word, override in rest if override.is_sweep_override()]
    typed = [word for word, override in rest if not override.is_sweep_override()]
    threads = asked.get("threads", 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise UserError(f"threads={threads}: must be a whole number of at least 1: the cores that one training takes.")
    return Design(
        environments=_environments(asked.get("env", "maze")),
        arms=_arms(asked, swept),
        seeds=_seeds(asked.get("seeds", 3)),
        fixed=(*map(str, asked.get("fixed") or ()), *typed, f"threads={threads}"),
    )


def _environments(asked: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(asked, Mapping):
        return {str(env): tuple(map(str, words or ())) for env, words in asked.items()}
    return {env: () for env in _names("env", asked)}


def _arms(asked: Mapping[str, Any], swept: Sequence[str]) -> tuple[Arm, ...]:
    """Every planner x world model x variant x swept value, and the arms that a preset names."""
    named = tuple(Arm(str(name), tuple(map(str, words or ()))) for name, words in (asked.get("arms") or {}).items())
    if named and not swept and not any(axis in asked for axis in ("planner", "world_model")):
        return named
    planners = _names("planner", asked.get("planner", "dreamspi"))
    models = [None] if asked.get("world_model") is None else _names("world_model", asked["world_model"])
    variants = asked.get("variants") or {"default": ()}
    crossed = []
    for planner, model, variant, set_to in itertools.product(planners, models, variants, expand(swept)):
        words = [f"planner={planner}", *([f"world_model={model}"] if model else [])]
        shown = [planner, model, None if variant == "default" else str(variant), *map(_short, set_to)]
        crossed.append(Arm(" ".join(filter(None, shown)), (*words, *map(str, variants[variant] or ()), *set_to)))
    return (*crossed, *named)


def _short(word: str) -> str:
    """``planner.dream.horizon=4`` as ``horizon=4``."""
    key, _, value = word.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _names(key: str, asked: Any) -> list[str]:
    names = [str(name) for name in (asked if isinstance(asked, list | tuple) else [asked])]
    if not names:
        raise UserError(f"{key}=[]: name one at least.")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{key}: {name} is named twice.")
    return names


def _seeds(asked: Any) -> tuple[int, ...]:
    listed = list(asked) if isinstance(asked, list | tuple) else None
    if listed is None and isinstance(asked, int) and not isinstance(asked, bool) and asked >= 1:
        return tuple(range(1, asked + 1))
    if listed and all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in listed) and len({*listed}) == len(listed):
        return tuple(listed)
    raise UserError(f"seeds={asked}: must be how many (seeds=3 is 1, 2, 3) or a list of different ones, seeds=[7,8,9].")


def _value(override: Override) -> Any:
    """The value of an axis: ``a``, ``[a,b]`` and ``a,b`` are all allowed."""
    found = values(override)
    found = [item for entry in found for item in (entry if isinstance(entry, list) else [entry])]
    found = [item.text if isinstance(item, QuotedString) else item for item in found]
    several = override.is_sweep_override() or isinstance(override.value(), list)
    return found if several else found[0]


def _scalar(override: Override | None, kind: type, default: Any) -> Any:
    if override is None:
        return default
    value = override.value()
    if kind is str and isinstance(value, int | float | str):
        return str(value)
    if not isinstance(value, kind):
        wanted = "true or false" if kind is bool else "one name"
        raise UserError(f"{override.input_line}: must be {wanted}.")
    return value
