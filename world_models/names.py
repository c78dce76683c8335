"""What to say of a name that does not exist: what is allowed, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
