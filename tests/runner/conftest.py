"""Every test of the runner works in a directory of its own, and its helpers explain what they assert."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.interrupted import CASES, PACES, References
from tests.support import own_directory as own_directory

pytest.register_assert_rewrite("tests.runner.support")


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these runs."""
    monkeypatch.setattr("dreamspi.picture.draw", lambda run: None)


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
