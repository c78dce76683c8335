"""What other packages bring: options named by their entry points, and classes named on the command line.

An entry point names a YAML file, ``walk = "my_package.configs:walk.yaml"``: the file ``walk.yaml`` in the folder of
``my_package.configs``. Nothing of the package is imported to find it. A class needs no file:
``world_model=my_package.model.MyModel``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

#: The groups that others may add to, and where their packages say so.
ENTRY_POINTS = {
    "env": "dreamspi.envs",
    "world_model": "dreamspi.world_models",
    "planner": "dreamspi.planners",
}
#: What a class is configured with, beside what is typed: the runner's own keys of an environment.
CLASS_DEFAULTS: dict[str, dict[str, Any]] = {"env": {"encoder": "auto", "total_steps": 300_000}}


class Outside(NamedTuple):
    """An option that another package brings."""

    group: str
    name: str
    package: str
    path: Path
    problem: str
    """Why it can't be used; empty if it can."""

    def told(self) -> str:
        """The problem as a user reads it."""
        return f"{self.group}={self.name}: the package {self.package} brings it, but {self.problem}."


def discover(group: str, taken: Container[str]) -> list[Outside]:
    """The options that installed packages bring to a group, the unusable ones with their problem.

    Args:
        group: one of ``ENTRY_POINTS``.
        taken: the names of our own options.
    """
    found: dict[str, Outside] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS.get(group, "")), key=lambda point: point.name):
        option = _located(group, point)
        if point.name in taken:
            option = option._replace(problem="it has the name of one of DreamSPI's own; rename the entry point")
        elif point.name in found:
            first = found[point.name].package
            option = option._replace(problem=f"the package {first} brings one of that name too; uninstall one of them")
        found[point.name] = option
    return list(found.values())


def _located(group: str, point: EntryPoint) -> Outside:
    package = point.dist.name if point.dist else "?"
    module, _, file = point.value.partition(":")
    path = next(_places(module.strip(), file.strip()), Path(module))
    return Outside(group, point.name, package, path, _problem(point.value, file.strip(), path))


def _places(module: str, file: str) -> Iterator[Path]:
    """Where ``file`` may lie in the folder of a module; only the first name of the module is looked up."""
    top, *below = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return
    folders = spec.submodule_search_locations if spec else None
    candidates = [Path(folder, *below, file) for folder in folders or ()]
    yield from (path for path in candidates if path.is_file())
    yield from candidates


def _problem(value: str, file: str, path: Path) -> str:
    if not file.endswith(".yaml"):
        return f'its entry point "{value}" names no YAML file; write "my_package.configs:name.yaml"'
    if path.name != file:
        return f"Python finds no package {path}: it is not installed"
    if not path.is_file():
        return f"there is no file {path}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return f"{path} can't be read: {' '.join(str(error).split())}"
    if not isinstance(content, dict) or not {"_target_", "defaults"} & set(content):
        return f"{path} has neither a _target_, the class to build, nor defaults, the file that it builds on"
    return ""


def is_class(option: str) -> bool:
    """Whether an option is the dotted name of a class: no file has a dot in its name."""
    return "." in option.partition("/")[0]


def class_option(group: str, name: str) -> dict[str, Any]:
    """The configuration of a class: nothing but itself, so that it gets no other arguments than those added."""
    return {"_target_": name} | CLASS_DEFAULTS.get(group, {})
