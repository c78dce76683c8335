"""The errors a user is meant to read: one message, no traceback, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend. The command line prints it and exits with code 2."""


def nearest(value: object, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The names in ``allowed`` that look most like ``value``, best first."""
    names = {name.lower(): name for name in allowed}
    return [names[m] for m in difflib.get_close_matches(str(value).lower(), names, n=count, cutoff=0.4)]


def unknown(key: str, value: object, allowed: Iterable[str]) -> UserError:
    """The error for a name that does not exist: the key, the value, the nearest names, then all."""
    allowed = list(allowed)
    close = nearest(value, allowed)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    shown = ", ".join(allowed[:40]) + (", ..." if len(allowed) > 40 else "")
    return UserError(f"{key}={value}: no such name.{hint} Allowed: {shown}.")
