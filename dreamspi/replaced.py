"""Parts for which another class was typed: they leave behind what only the class of the file takes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator
from pydoc import locate

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

TARGET = "._target_"


def leave_behind(config: DictConfig, base: DictConfig, parsed: Iterable[Override]) -> None:
    """Removes, from each part whose ``_target_`` was typed, the keys of its file that the new class has no argument of
    that name for. What was typed stays, right or wrong: the constructor tells. A whole group is no part.

    Args:
        config: composed with all that was typed.
        base: the same as its files have it.
    """
    typed = [key for override in parsed for key in _keys(override.key_or_group, override.value())]
    for key in typed:
        part = key.removesuffix(TARGET)
        if part == key or "." not in part or _unchanged(config, base, key):
            continue
        takes = _arguments(str(OmegaConf.select(config, key)))
        section = OmegaConf.select(config, part)
        with open_dict(section):
            for name in [str(name) for name in section]:
                meant = any(f"{word}.".startswith(f"{part}.{name}.") for word in typed)
                if takes is not None and not (meant or name in takes or name.startswith("_")):
                    del section[name]


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
