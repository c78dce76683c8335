"""``key=value`` words of the small commands, read into a ``NamedTuple`` of typed options."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from hydra.core.override_parser.types import Override

from dreamspi.config import check_device_name
from dreamspi.errors import UserError, unknown_option
from dreamspi.overrides import parse

T = TypeVar("T")

#: How a type is told to a user.
_CALLED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def read_options(words: list[str], kind: type[T], run_missing: str) -> T:
    """Options of type ``kind`` (a ``NamedTuple`` with a field ``run``) from ``key=value`` words.

    Raises:
        UserError: an unknown key, a value of the wrong type, or no ``run``.
    """
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for override in parse(words):
        key = override.key_or_group
        if key not in hints:
            raise unknown_option(key, tuple(hints))
        given[key] = _converted(key, override, hints[key])
    if not given.get("run"):
        raise UserError(f"run=<run_dir> is missing: {run_missing}")
    return kind(**given)


def _converted(key: str, override: Override, hint: Any) -> Any:
    value, typed = override.value(), (override.input_line or "").partition("=")[2]
    allowed = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in allowed:
        return None
    (wanted,) = [kind for kind in allowed if kind is not type(None)]
    if wanted is str:
        return value if isinstance(value, str) else typed  # a directory 2024_01 is not the number 202401
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise UserError(f"{key}={typed}: must be {_CALLED[wanted]}.")
    return value


def check_playing(options: Any, *counts: str) -> None:
    """Raises unless what every command that plays takes is in order: ``counts`` at least 1, ``seed``, ``device``,
    ``json``."""
    for key in counts:
        if getattr(options, key) < 1:
            raise UserError(f"{key}={getattr(options, key)}: must be at least 1.")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"seed={options.seed}: must be a whole number from 0 to 2^32 - 1.")
    check_device_name(options.device)
    check_json(options.json)


def check_json(json: str | None) -> None:
    """Raises unless ``json=`` names a file in a directory that exists, or is ``-`` or null."""
    if json in (None, "-"):
        return
    path = Path(str(json)).resolve()
    if path.is_dir():
        raise UserError(f"json={json}: is a directory; name a file.")
    if not path.parent.is_dir():
        raise UserError(f"json={json}: there is no directory {path.parent}.")
