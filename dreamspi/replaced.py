"""Parts for which another class was named: they leave behind what only the class of the file below takes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from pydoc import locate

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

TARGET = "._target_"


def leave_behind(
    config: DictConfig, base: DictConfig, parsed: Iterable[Override], named: Mapping[str, Collection[str]]
) -> None:
    """Removes, from each part whose ``_target_`` was typed, or named by a file of another package, the keys of the
    files below that the new class has no argument of that name for. What was typed, or stands in that file or above it,
    stays, right or wrong: the constructor tells. A whole group is no part.

    Args:
        config: composed with all that was typed.
        base: the same as its files have it.
        named: as ``catalogue.named_parts`` has it.
    """
    typed = [key for override in parsed for key in _keys(override.key_or_group, override.value())]
    for key in typed:
        part = key.removesuffix(TARGET)
        if part != key and "." in part and not _unchanged(config, base, key):
            _strip(config, part, _within(part, typed))
    for part, given in named.items():
        if f"{part}{TARGET}" not in typed:
            _strip(config, part, {*given, *_within(part, typed)})


def _strip(config: DictConfig, part: str, given: Collection[str]) -> None:
    """Removes what a part's class does not take, but for the keys that were given to it."""
    section, takes = OmegaConf.select(config, part), _arguments(str(OmegaConf.select(config, part + TARGET)))
    if takes is None or not isinstance(section, DictConfig):
        return
    with open_dict(section):
        for name in [str(name) for name in section]:
            if name not in given and name not in takes and not name.startswith("_"):
                del section[name]


def _within(part: str, keys: Iterable[str]) -> set[str]:
    """The names directly in a part that some dotted keys set, or something in them."""
    return {key.removeprefix(f"{part}.").partition(".")[0] for key in keys if key.startswith(f"{part}.")}


def _keys(key: str, value: object) -> Iterator[str]:
    """A key that was typed and, where its value is a section, all within."""
    yield key
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield from _keys(f"{key}.{name}", inner)


def _unchanged(config: DictConfig, base: DictConfig, key: str) -> bool:
    return OmegaConf.select(base, key) in (None, OmegaConf.select(config, key))


def _arguments(target: str) -> Collection[str] | None:
    """The names that a class or function takes; ``None`` where it takes any, or can't be had, which is told later."""
    try:
        parameters = inspect.signature(locate(target)).parameters  # type: ignore[arg-type]
    except Exception:  # whatever importing a module of the user's may raise
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return parameters.keys()
