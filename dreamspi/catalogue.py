"""What there is to choose from, read from the YAML files alone: cheap, and without importing torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dreamspi.errors import UserError
from dreamspi.outside import ENTRY_POINTS, Outside, discover, is_class

#: The groups a user chooses one option from, each with its sentence for the help.
GROUPS = {
    "env": "What to play: a family or <family>/<name>.",
    "world_model": "What is learnt of the environment.",
    "planner": "How the policy improves: which phases, on what.",
    "logger": "Where metrics go besides metrics.csv.",
    "experiment": "A preset of all the above.",
}
ANY_NAME = "*"


class Key(NamedTuple):
    """One key of a YAML file: dotted name, default as written, and the sentence beside it."""

    name: str
    default: str
    sentence: str


def config_directory() -> Path:
    """The configuration: ``dreamspi/configs`` in a wheel, ``configs`` beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    for directory in (package / "configs", package.parent / "configs"):
        if (directory / "config.yaml").is_file():
            return directory
    raise UserError(f"no config.yaml beside {package}: the installation is incomplete, install it again.")


def own_options(group: str) -> list[str]:
    """The names of our own options."""
    return sorted(path.stem for path in (config_directory() / group).glob("*.yaml"))


@cache
def outside(group: str) -> dict[str, Outside]:
    """What other packages bring to a group, by name; unusable ones too."""
    return {option.name: option for option in discover(group, own_options(group))}


def options(group: str) -> list[str]:
    """The names that ``group=<name>`` takes, sorted; environments as families."""
    return sorted({*own_options(group), *(name for name, option in outside(group).items() if not option.problem)})


def path_of(group: str, option: str) -> Path:
    """The YAML file of an option, ours or another package's."""
    path = config_directory() / group / f"{option}.yaml"
    return path if path.is_file() or option not in outside(group) else outside(group)[option].path


def first_comment(group: str, option: str) -> str:
    """The line that describes an option: the first line of its YAML file, a comment."""
    text = path_of(group, option).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    comments = (line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    return next(comments, "")


@cache
def _read(path: Path) -> dict[str, Any]:
    # omegaconf's dialect of YAML differs in numbers only, and nothing here reads numbers.
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def defaults_of(group: str, option: str) -> list[Any]:
    """The defaults list of an option's file."""
    return _read(path_of(group, option)).get("defaults", [])


def chooses(words: Iterable[str], group: str) -> bool:
    """Whether an option of a group is chosen by some words, or by a preset among them."""
    typed = dict(word.split("=", 1) for word in words if "=" in word)
    preset = typed.get("experiment")
    return group in typed or (preset in options("experiment") and group in choices_of(preset))


def choices_of(preset: str) -> dict[str, str]:
    """What a preset chooses, by group."""
    entries = [entry for entry in defaults_of("experiment", preset) if isinstance(entry, dict)]
    return {key.split()[-1].lstrip("/"): str(option) for entry in entries for key, option in entry.items()}


def adjusted_choices(preset: str) -> dict[str, str]:
    """Of what a preset chooses, by group, that of which it sets keys as well."""
    sections = _read(path_of("experiment", preset))
    return {group: option for group, option in choices_of(preset).items() if group in sections}


def lineage(group: str, option: str) -> Iterator[str]:
    """An option, of an environment its family, and those that its file builds on, one after the other."""
    option = option.partition("/")[0]
    while option in options(group):
        yield option
        option = _parent(group, option)


def _parent(group: str, option: str) -> str:
    """The option of the same group whose file an option's file builds on; empty if there is none."""
    entries = [entry for entry in defaults_of(group, option) if isinstance(entry, str) and entry != "_self_"]
    return entries[-1].removeprefix(f"/{group}/") if entries else ""


def named_parts(choices: Mapping[str, Any]) -> dict[str, set[str]]:
    """Of the chosen options (one by group) that other packages bring: the parts, dotted, whose class their files name,
    or files of such packages that they build on, each with the keys that stand there or above."""
    named = (_named_parts(group, str(choices.get(group)).partition("/")[0]) for group in ENTRY_POINTS)
    return {part: given for parts in named for part, given in parts.items()}


def _named_parts(group: str, option: str) -> dict[str, set[str]]:
    given: dict[str, set[str]] = {}
    named: dict[str, set[str]] = {}
    while option in outside(group):
        for part, section in _sections(group, _read(outside(group)[option].path)):
            given.setdefault(part, set()).update(section)
            if "_target_" in section:
                named.setdefault(part, set(given[part]))
        option = _parent(group, option)
    return named


def _sections(path: str, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sections in a section, with their dotted names."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield f"{path}.{key}", value
            yield from _sections(f"{path}.{key}", value)


def env_names(family: str) -> list[str]:
    """The names after the slash: a list, ``[]`` where the family has none, ``["*"]`` for any name."""
    if is_class(family):
        return []
    content = _read(path_of("env", family))
    if "names" in content:
        names = content["names"]
        return [names] if isinstance(names, str) else list(names)
    parent = _parent("env", family)
    return env_names(parent) if parent else []


def all_environments() -> list[str]:
    """Every environment that can be named from the files alone, for suggestions."""
    found = []
    for family in options("env"):
        found.append(family)
        found += [f"{family}/{name}" for name in env_names(family) if name != ANY_NAME]
    return found


_KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w.-]+):(?P<rest>.*)$")


def documented_keys(path: Path) -> list[Key]:
    """The keys of a YAML file with the sentence that stands behind each of them.

    Only keys with a sentence are returned: ``defaults`` and Hydra's own have none.
    """
    keys = []
    parents: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _KEY.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        parents = [(depth, name) for depth, name in parents if depth < indent]
        value, _, sentence = match["rest"].partition(" #")
        dotted = ".".join([name for _, name in parents] + [match["name"]])
        if sentence:
            keys.append(Key(dotted, value.strip(), sentence.strip()))
        parents.append((indent, match["name"]))
    return keys
