"""The README's commands compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def blocks(language: str, file: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.S)


def test_every_command_of_the_readme_composes() -> None:
    from dreamspi.config import compose

    commands = [
        shlex.split(line.partition("#")[0])[2:]
        for text in blocks("sh")
        for line in text.splitlines()
        if line.startswith("dreamspi train") and "--help" not in line and "resume" not in line
    ]
    assert len(commands) >= 6
    for words in commands:
        if "-m" not in words:
            compose(words)


def test_every_study_that_is_shown_has_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, as they are shown: some go on with an earlier one."""
    from dreamspi.studies.design import cells
    from dreamspi.studies.request import read
    from dreamspi.studies.store import Study

    monkeypatch.chdir(tmp_path)
    shown = [text for file in ("README.md", "docs/studies.md") for text in blocks("(?:sh|bash)", file)]
    lines = [line.partition(" #")[0] for text in shown for line in text.splitlines()]
    requests = 0
    for line in lines:
        if line.startswith("dreamspi study"):
            request = read(shlex.split(line)[2:])
            requests += 1
            if request.design is not None:
                Study.extend(request.path, request.design, cells(request.design)).save()
    assert requests >= 6
