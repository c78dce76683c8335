"""The README's commands compose."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_every_command_of_the_readme_composes() -> None:
    from dreamspi.config import compose

    commands = [
        line.partition("#")[0].split()[2:]
        for text in blocks("sh")
        for line in text.splitlines()
        if line.startswith("dreamspi train") and "--help" not in line and "resume" not in line
    ]
    assert len(commands) >= 6
    for words in commands:
        if "-m" not in words:
            compose(words)
