"""SIGTERM and Ctrl-C, turned into a flag that a loop asks for between two iterations."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Context manager that remembers the first signal instead of letting it break the loop.

    ``signal`` is its number, 0 before there was one; leaving with exit code ``128 + signal`` (130 for Ctrl-C,
    143 for SIGTERM) is what a shell expects. A second signal takes its usual course at once.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread only; elsewhere (a test, a notebook) there is none to catch.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}
