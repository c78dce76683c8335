"""Every test of the runner works in a directory of its own, and its helpers explain what they assert."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.runner.support")


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs without a ``run_dir`` land under ``runs/`` there, never in the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
