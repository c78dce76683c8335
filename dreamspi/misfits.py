"""Configuration that a constructor can't take: refused before it is called, or told after it has refused."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from pydoc import ErrorDuringImport, locate
from typing import Any

from hydra.errors import InstantiationException

from dreamspi.errors import UserError, did_you_mean

_NULLABLE, _PART = re.compile(r"\bNone|\bOptional\b|\bAny\b|\bobject\b"), re.compile(r"(Callable|Part)( \| None)?$")
#: Files that say nothing of where an error comes from.
_CALLED = re.compile(
    r"/(hydra|omegaconf|torch|torchrl|tensordict|importlib)/|importlib\.|dreamspi/(building|misfits)\.py"
)
#: What is raised where code is wrong, not what it was given: worth a place.
FAULTS = (AttributeError, LookupError, AssertionError, ArithmeticError)


def refuse_misfits(key: str, section: Mapping[str, Any]) -> None:
    """Raises ``UserError`` for a null, somewhere in a section, where the class that it is for can't do without, and
    for a single value in the place of a part."""
    target = section.get("_target_")
    for name, value in section.items():
        for part in _sections(value):
            refuse_misfits(f"{key}.{name}", part)
        if isinstance(target, str) and not isinstance(value, dict):
            kind = _annotation(target, name)
            if value is None and kind and not _NULLABLE.search(kind):
                raise UserError(f"{key}.{name}=null: {target} can't do without it ({kind}).")
            if value is not None and _PART.match(kind):
                null = ", or null" if _NULLABLE.search(kind) else ""
                raise UserError(f"{key}.{name}={value}: is built by a class: write {key}.{name}._target_=...{null}.")


def _sections(value: object) -> Iterator[Mapping[str, Any]]:
    """The section that a value is, or those in the list that it is."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _sections(each)


def _annotation(target: str, name: str) -> str:
    """What an argument is annotated with, without what stands in brackets; nothing where that can't be told, or where
    null is its default."""
    try:
        found = locate(target)
        kinds = found.__mro__ if isinstance(found, type) else ()
        builders = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)] or [found]
        parameters = [inspect.signature(each).parameters for each in builders if callable(each)]
    except (ErrorDuringImport, ValueError, TypeError):  # Hydra will say what is wrong with it
        return ""
    first = next((each[name] for each in parameters if name in each), None)
    if first is None or first.annotation is first.empty or first.default is None:
        return ""
    told = str(first.annotation)
    if "Optional[" in told or "Union[" in told:
        return told
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", told)) != told:  # from the innermost
        told = shorter
    return told


def message(error: BaseException, section: str) -> str:
    """What a constructor refused, in its own words, with the section in front unless it names a key of it."""
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    if named := re.match(r"Error loading '([\w.]+)'", str(cause)):  # Hydra's words, which guess
        return f"{section}: {_absent(named[1])}"
    if isinstance(cause, FAULTS):
        return f"{section}: {_fault(cause)}"
    return str(cause) if "=" in str(cause).partition(":")[0] else f"{section}: {cause}"


def _absent(path: str) -> str:
    """Why the name of a class leads nowhere."""
    module, _, name = path.rpartition(".")
    if not module:
        return f"{path}: name a class as package.module.Class."
    try:
        found = vars(import_module(module))
    except Exception as error:  # whatever a file does when it is read
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        hint = ". Python finds it once its package is installed, or its folder is in PYTHONPATH" if missing else ""
        return f"{path}: {_fault(error)}{hint}"
    own = [each for each, value in found.items() if getattr(value, "__module__", None) == module]
    return f"{module} has no {name}.{did_you_mean(name, own)}"


def _fault(error: BaseException) -> str:
    """An error of code that is not ours to mend, and the last line that led to it outside of what all code calls."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _CALLED.search(frame.filename)]
    return f"{type(error).__name__}: {error}" + (f" ({own[-1].filename}:{own[-1].lineno})" if own else "")
