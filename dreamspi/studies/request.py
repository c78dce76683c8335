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
from dreamspi.studies.design import Arm, Design, last_wins
from dreamspi.studies.store import Study

#: What a preset may say, besides any key of `dreamspi train`, which goes under ``fixed``.
PRESET_KEYS = ("env", "planner", "world_model", "variants", "arms", "seeds", "fixed")
#: The dimensions whose values may be listed.
AXES = ("env", "planner", "world_model")
#: A study's name is a directory's.
NAME = re.compile(r"\w[\w.+-]*")


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
    """The request that the words make. What they leave open is as the study had it, if it is there already.

    Raises:
        UserError: a preset, a key or a value that can't be right. Combinations are not looked into: see ``cells``.
    """
    own: dict[str, Override] = {}
    launcher, rest = [], []
    for word, override in zip(words, parse(words), strict=True):
        key = override.key_or_group
        if key in ("name", "study", "root", "seeds", "retry", "dry", *AXES):
            own[key] = override
        elif key == "launcher" or key.startswith("launcher."):
            launcher.append(word)
        elif key in ("seed", "run_dir", "resume"):
            better = {"seed": "seeds=3 or seeds=[1,2,3]", "run_dir": "name=<study>", "resume": "name=<study> alone"}
            raise UserError(f"{word}: a study gives every training its own; write {better[key]}.")
        else:
            rest.append((word, override))
    retry, dry = (_scalar(own.get(key), bool, False) for key in ("retry", "dry"))
    preset = _scalar(own.get("study"), str, None)
    path = Path(_scalar(own.get("root"), str, "studies")) / _name(words, preset)
    asked = {key: _value(own[key]) for key in (*AXES, "seeds") if key in own}
    if preset is None and (path / "study.yaml").is_file():
        design = _design(asked, rest, Study.open(path).design) if asked or rest else None
    elif preset is None and not asked and not rest:
        raise UserError(f"{path}: no such study yet; say what to compare, such as env=[maze] planner=[ppo,deepspi].")
    else:
        design = _design(_merged(_preset(preset), asked), rest, None)
    return Request(path, design, tuple(launcher), retry, dry)


def _name(words: Sequence[str], preset: str | None) -> str:
    """The study's name as it was typed: ``2024_01`` is not the number 202401."""
    typed = [word.removeprefix("name=").strip("'\"") for word in words if word.startswith("name=")]
    name = typed[-1] if typed else preset
    if not name:
        raise UserError("name=<study> is missing: it names the study's directory under studies/.")
    if not NAME.fullmatch(name):
        raise UserError(
            f"name={name}: must begin with a letter or a digit and have only letters, digits and . _ + - in it, as it "
            "names a directory."
        )
    return name


def _preset(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    if name not in options("study"):
        raise unknown("study", name, options("study"))
    path = path_of("study", name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: must be keys with their values, of these: {', '.join(PRESET_KEYS)}.")
    for key in content:
        if key not in PRESET_KEYS:
            raise UserError(f"{path}: {unknown('key', key, PRESET_KEYS)}")
    return dict(content)


def _merged(preset: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed in the place of what the preset says; an environment keeps the preset's words for it."""
    merged = {**preset, **asked}
    special = preset.get("env")
    if "env" in asked and isinstance(special, Mapping):
        merged["env"] = {env: special.get(env) for env in _names("env", asked["env"])}
    return merged


def _design(asked: Mapping[str, Any], rest: Sequence[tuple[str, Override]], before: Design | None) -> Design:
    """The design that was asked for; ``before`` is the study's, for what is left open."""
    swept = [word for word, override in rest if override.is_sweep_override()]
    typed = [word for word, override in rest if not override.is_sweep_override()]
    preset = any(override.key_or_group == "experiment" for _, override in rest)
    same_arms = before is not None and not swept and not any(key in asked for key in ("planner", "world_model"))
    arms = before.arms if before is not None and same_arms else _arms(asked, swept, preset)
    typed = list(last_wins([*(before.typed if before is not None else ()), *typed]))
    _refuse_twice(arms, typed)
    if before is None or "env" in asked:
        environments = _environments(asked.get("env", "" if preset else "maze"))
        if before is not None:
            environments = {env: before.environments.get(env, words) for env, words in environments.items()}
    else:
        environments = dict(before.environments)
    fixed = last_wins(["threads=1", *_listed("fixed", asked.get("fixed"))]) if before is None else before.fixed
    return Design(
        environments=environments,
        arms=arms,
        seeds=before.seeds if before is not None and "seeds" not in asked else _seeds(asked.get("seeds", 3)),
        fixed=fixed,
        typed=tuple(typed),
    )


def _refuse_twice(arms: Sequence[Arm], typed: Sequence[str]) -> None:
    """Raises for a key that is to be the same everywhere, or swept, and that an arm is made of, and for two arms of one
    name."""
    for arm in arms:
        own: dict[str, str | None] = {}
        for override in parse([*arm.overrides, *typed]):
            if override.key_or_group in own:
                raise UserError(f"{override.input_line}: arm {arm.name} has its own, {own[override.key_or_group]}.")
            own[override.key_or_group] = override.input_line
        if sum(other.name == arm.name for other in arms) > 1:
            raise UserError(f"two arms are named {arm.name}: give them different names, or values.")


def _environments(asked: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(asked, Mapping):
        return {str(env): _listed(f"env.{env}", words) for env, words in asked.items()}
    return {env: () for env in _names("env", asked)}


def _arms(asked: Mapping[str, Any], swept: Sequence[str], preset: bool) -> tuple[Arm, ...]:
    """Every planner x world model x variant x swept value, and the arms that a preset names; these alone, each with
    every swept value, where no planner or model is chosen.

    Args:
        asked: what was asked for.
        swept: words with several values.
        preset: an experiment is chosen, whose planner and model are not to be replaced by defaults.
    """
    named = [Arm(name, words) for name, words in _mapping("arms", asked.get("arms")).items()]
    if named and not any(axis in asked for axis in ("planner", "world_model")):
        return tuple(
            Arm(" ".join([arm.name, *map(_short, set_to)]), (*arm.overrides, *set_to))
            for arm, set_to in itertools.product(named, expand(swept))
        )
    default = None if preset else "dreamspi"
    planners, models = (
        _choices(key, asked.get(key, value)) for key, value in (("planner", default), ("world_model", None))
    )
    variants = _mapping("variants", asked.get("variants")) or {"default": ()}
    crossed = []
    for planner, model, variant, set_to in itertools.product(planners, models, variants, expand(swept)):
        words = [*([f"planner={planner}"] if planner else []), *([f"world_model={model}"] if model else [])]
        shown = [planner, model, None if variant == "default" else variant, *map(_short, set_to)]
        crossed.append(Arm(" ".join(filter(None, shown)) or "experiment", (*words, *variants[variant], *set_to)))
    return (*crossed, *named)


def _choices(key: str, asked: Any) -> list[str] | list[None]:
    return [None] if asked is None else _names(key, asked)


def _mapping(key: str, value: Any) -> dict[str, tuple[str, ...]]:
    """Names with their words, as a preset's file has them."""
    if value is not None and not isinstance(value, Mapping):
        raise UserError(
            f"{key}: must be names with a list of words each, as in `{key}: {{wide: [planner.hidden=1024]}}`."
        )
    return {str(name): _listed(f"{key}.{name}", words) for name, words in (value or {}).items()}


def _listed(key: str, value: Any) -> tuple[str, ...]:
    """The words of a list; one word alone is a list too."""
    if isinstance(value, Mapping) or not isinstance(value, str | list | tuple | None):
        raise UserError(f"{key}={value}: must be a list of key=value words.")
    return (value,) if isinstance(value, str) else tuple(map(str, value or ()))


def _short(word: str) -> str:
    """``planner.dream.horizon=4`` as ``horizon=4``."""
    key, _, value = word.partition("=")
    if key == "experiment":
        return value
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
