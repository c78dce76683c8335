"""What tests of several kinds share."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import cache
from pathlib import Path

import pytest

from dreamspi.catalogue import outside
from dreamspi.cli import main as command
from dreamspi.config import chosen, compose

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


_RUN = {
    "world_model": "deterministic",
    "logger": "none",
    "seed": "0",
    "num_envs": "8",
    "num_steps": "4",
    "gamma": "0.99",
    "threads": "1",
    "log_every": "2",
    "planner.C": "1.1",
    "planner.hidden": "16",
    "planner.ground.segment": "4",
    "planner.ground.epochs": "1",
    "planner.ground.minibatches": "2",
}
_DREAM = {
    "planner.dream.horizon": "2",
    "planner.dream.repeats": "1",
    "planner.dream.epochs": "1",
    "planner.dream.minibatches": "2",
}


@cache
def dreams(planner: str) -> bool:
    """Whether a planner has a dream phase."""
    return compose([f"planner={planner}"]).planner.dream is not None


def forget_options() -> None:
    """What was read of other packages' options: they change from test to test, and not while a command runs."""
    outside.cache_clear()
    chosen.cache_clear()


def tiny(
    *words: str, without: Container[str] = (), iterations: int = 2, checkpoint: int = 1000, barrier: int = 1000
) -> list[str]:
    """The words of a tiny run; ``words`` add to them or replace them.

    Args:
        words: further ``key=value`` words.
        without: keys that are left out, for the caller to give or not.
        iterations: batches in all.
        checkpoint: batches between two checkpoints.
        barrier: batches between two barriers.
    """
    given = dict(word.split("=", 1) for word in words)
    given = {"env": "maze", "planner": "ppo"} | given
    keys = _RUN | (_DREAM if dreams(given["planner"]) else {}) | given
    batch = int(keys["num_envs"]) * int(keys["num_steps"])
    paces = {"total_steps": iterations, "checkpoint.every": checkpoint, "checkpoint.barrier": barrier}
    keys = {key: str(batches * batch) for key, batches in paces.items()} | keys
    return [f"{key}={value}" for key, value in keys.items() if key not in without]
