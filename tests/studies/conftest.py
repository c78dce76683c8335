"""Every test of studies works in a directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Studies with a ``name`` alone land under ``studies/`` there, never in the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
