"""What the benchmarks' tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest


def assert_refused(
    main: Callable[[Sequence[str]], int], words: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong input is told in one line that holds ``message``, with exit code 2."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
