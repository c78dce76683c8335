"""What tests of several kinds share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dreamspi.cli import main as command

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is written without being told where, such as ``runs/`` and ``studies/``, lands there, never in the
    checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(words: list[str], capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], int] = command) -> str:
    """The one line that wrong input is answered with, with exit code 2, nothing else said and nothing left behind."""
    capsys.readouterr()
    before = set(Path.cwd().rglob("*"))
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dreamspi: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert set(Path.cwd().rglob("*")) == before
    return err.removeprefix("dreamspi: ").strip()


def blocks(language: str, page: str) -> list[str]:
    """What stands in a page of the repository as code in a language; ``language`` is a regular expression."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.S)
