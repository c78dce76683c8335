"""Every test of the runner works in a directory of its own, and its helpers explain what they assert."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dreamspi.run_directory import RunDirectory
from tests.runner.interrupted import CASES, PACES, References
from tests.support import own_directory as own_directory

pytest.register_assert_rewrite("tests.runner.support")


@pytest.fixture(autouse=True, scope="package")
def draw() -> Iterator[Callable[[RunDirectory], None]]:
    """What draws a finished run. It is not called, as that takes longer than these runs."""
    from dreamspi.picture import draw

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamspi.picture.draw", lambda run: None)
        yield draw


@pytest.fixture(scope="module")
def drawn(draw: Callable[[RunDirectory], None]) -> Iterator[None]:
    """A module's runs are drawn all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamspi.picture.draw", draw)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> References:
    """The run of a case that was never interrupted; not to be changed by a test."""
    from tests.runner.support import trained  # once its asserts are rewritten

    found: dict[str, Path] = {}

    def run(case: str) -> Path:
        if case not in found:
            found[case] = trained(tmp_path_factory.mktemp(case) / "run", *CASES[case], **PACES)
        return found[case]

    return run
