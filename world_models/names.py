"""What to say of a name that does not exist, a size that is too small, and an environment that does not suit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class Unsuited(ValueError):
    """A model, or a part of it, can't take what it is shown; the message says what it needs, or which key to set."""


def no_such(what: str, key: str, value: object, allowed: Iterable[str], more: str = "") -> ValueError:
    """The error for it.

    Args:
        what: what it would name, ``encoder`` say.
        key: where it was written.
        value: what was written.
        allowed: what could have been.
        more: goes in brackets behind these.
    """
    allowed = list(allowed)
    close = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.4)
    hint = f" Did you mean {close[0]}?" if close else ""
    return ValueError(f"{key}={value}: no such {what}.{hint} Allowed: {', '.join(allowed)}{more and f' ({more})'}.")


def at_least(key: str, value: Any, low: int, several: bool = False) -> None:
    """Raises ``ValueError`` for what is no whole number, and for a number below ``low``; with ``several`` it may be a
    list of them, though not an empty one."""
    numbers, words = [value], "must be"
    if several and isinstance(value, Sequence) and not isinstance(value, str):
        numbers, words = list(value), "one number or more, each"
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise ValueError(f"{key}={value}: {words} a whole number of at least {low}.")
    if not numbers or min(numbers) < low:
        raise ValueError(f"{key}={value}: {words} at least {low}.")
