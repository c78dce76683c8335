"""The way into a Ray cluster, for studies and for collectors."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from typing import Any

from dreamspi.errors import UserError

#: Seconds that the head of a cluster has to answer.
PATIENCE = 5.0


def connect(address: str) -> Any:
    """The package ``ray``, connected to a cluster; signals keep their meaning.

    Args:
        address: of the cluster: ``host:port``, or ``auto`` for ``RAY_ADDRESS`` or the one of this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    ray = _installed()
    if ray.is_initialized():
        return ray
    _check(address)
    # Ray gives SIGTERM a meaning of its own, which would end a training without saving it.
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise UserError(_none(address, error)) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
    return ray


def _installed() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError(f"Ray can't be imported: {error}. Install it: pip install 'dreamspi[ray]'.") from error
    return ray


def _check(address: str) -> None:
    """Ray itself tries for minutes to reach a head that is not there, and then ends the process."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        remote = address.startswith("ray://")
        found = address.removeprefix("ray://") if remote else canonicalize_bootstrap_address(address)
        host, _, port = str(found).rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(_none(address, error)) from error


def _none(address: str, error: BaseException) -> str:
    said = " ".join(str(error).split()).partition(". ")[0]
    return (
        f"address={address}: no Ray cluster answers ({said}). Start one: ray start --head; "
        "or name the address of another's head, host:6379."
    )
