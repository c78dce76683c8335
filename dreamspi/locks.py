"""Locks of files, which end with the process that holds them, however it ends."""

from __future__ import annotations

import errno

#: What a file system without locks answers.
_NONE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class NoLocks(Exception):
    """There are no locks here; the message says why."""


def take(descriptor: int, wait: bool, shared: bool = False) -> bool:
    """Locks an open file; false where another process holds it.

    Raises:
        NoLocks: the system, or the file system, has none.
    """
    try:
        import fcntl
    except ImportError as error:
        raise NoLocks("no Unix system") from error
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NONE:
            raise
        raise NoLocks(error.strerror) from error
    return True
