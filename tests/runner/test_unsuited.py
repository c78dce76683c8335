"""An environment that a world model can't take: one line, exit code 2, before training where that can be known."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamspi.cli import main
from tests.runner.support import trained
from tests.support import refused, tiny


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["env=gym/CartPole-v1"], ["world_model=tabular: needs an observation that a table can hold", "[4]", "float"]),
        (["env.picture=84"], ["world_model=tabular: needs", "4096", "[1, 84, 84]", "uint8"]),
        (["env=gym/Taxi-v4"], ["world_model.classes=64: the environment has 500 distinct", "world_model.classes=500"]),
    ],
)
def test_before_training(words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(["train", *tiny("world_model=tabular", *words), "run_dir=run"], capsys)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("planner", ["ppo", "dreamspi"])
def test_when_the_table_is_full(planner: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = tiny("world_model=tabular", "world_model.classes=3", f"planner={planner}")
    assert main(["train", *words, "run_dir=run"]) == 2
    err = capsys.readouterr().err
    assert "dreamspi: world_model.classes=3: the environment has shown" in err and err.count("\n") == 1


def test_in_an_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four steps show six cells of the maze at most, whole games all of them."""
    env = ["env=gym", "env.name=dreamspi.envs.maze_gymnasium:DreamSPI/Maze-v0"]
    trained(tmp_path / "run", "world_model=tabular", "world_model.classes=6", *env, iterations=1)
    message = refused(["evaluate", f"run={tmp_path / 'run'}", "episodes=20"], capsys)
    assert "world_model.classes=6: the environment has shown" in message
