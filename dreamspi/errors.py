"""The errors a user is meant to read: one message, no traceback, an exit code that scripts can use."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Iterable, Sequence

#: Exit codes of the command line. Interrupts follow the shell's convention, 128 + signal number.
EXIT_USER_ERROR = 2
EXIT_DIVERGED = 3
EXIT_INTERRUPTED = 130
#: What the system says where a disk, or the user's share of it, is full.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """Something the user can mend. The command line prints it and exits with code 2."""


class Diverged(Exception):
    """A loss or gradient that is not finite. The command line prints it and exits with code 3."""


def tell(message: object) -> None:
    """Prints a message as one line on stderr, however many it came in."""
    print("dreamspi:", *str(message).split(), file=sys.stderr)


def nearest(value: object, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The names in ``allowed`` that look most like ``value``, best first."""
    names = {name.lower(): name for name in allowed}
    return [names[m] for m in difflib.get_close_matches(str(value).lower(), names, n=count, cutoff=0.4)]


def unknown(key: str, value: object, allowed: Iterable[str], candidates: Sequence[str] | None = None) -> UserError:
    """The error for a name that does not exist: the key, the value, the nearest names, then all.

    ``candidates`` are the names to look for near ones in, where these are more than the list to print.
    """
    allowed = list(allowed)
    hint = did_you_mean(value, allowed if candidates is None else candidates)
    shown = ", ".join(allowed[:40]) + (", ..." if len(allowed) > 40 else "")
    return UserError(f"{key}={value}: no such name.{hint} Allowed: {shown or 'none'}.")


def unknown_option(key: str, allowed: Sequence[str]) -> UserError:
    """The error for a key that a small command does not have, with the nearest that it has, then all."""
    return UserError(f"{key}: no such key here.{did_you_mean(key, allowed)} Keys: {', '.join(allowed)}.")


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """The nearest of some names as a sentence, with a space in front; empty where none is near."""
    close = nearest(value, names)
    return f" Did you mean {' or '.join(close)}?" if close else ""
