"""The README's commands are understood, word by word."""

from __future__ import annotations

import shlex
from importlib import import_module
from pathlib import Path

import pytest

from dreamspi.config import compose, expand
from dreamspi.studies.design import cells
from dreamspi.studies.request import read
from dreamspi.studies.store import Study
from tests.support import blocks


def shown(command: str, *pages: str) -> list[list[str]]:
    """The words behind every ``dreamspi <command>`` of these pages."""
    lines = [line for page in pages for text in blocks("(?:sh|bash)", page) for line in text.splitlines()]
    given = [shlex.split(line.partition(" #")[0].replace("<name>", "first")) for line in lines]
    return [words[2:] for words in given if words[:2] == ["dreamspi", command]]


def test_every_training_composes() -> None:
    """Each job of a multi-run, too; one that goes on needs the run."""
    given = [words for words in shown("train", "README.md") if words not in (["--help"], ["resume=runs/first"])]
    jobs = [job for words in given for job in expand([word for word in words if word != "-m"])]
    assert len(given) >= 8 and len(jobs) == len(given) + 8, "one of them is nine jobs"
    for words in jobs:
        compose(words)


@pytest.mark.parametrize("command", ["report", "evaluate", "certify", "dream", "check"])
def test_the_words_of_every_other_command_are_its_own(command: str) -> None:
    given = shown(command, "README.md")
    assert given
    for words in given:
        import_module(f"dreamspi.{command}").parse_options(words)


def test_every_study_that_is_shown_has_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, as they are shown: some go on with an earlier one."""
    monkeypatch.chdir(tmp_path)
    given = shown("study", "README.md", "docs/studies.md")
    assert len(given) >= 6
    for words in given:
        request = read(words)
        if request.design is not None:
            Study.extend(request.path, request.design, cells(request.design)).save()
