"""What the framework is for, on the real thing: minutes each, so outside of `make test`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamspi.cli import main

#: Planner, budget, and the exact value at the maze's start that it must end with (collapsed policies have 4.8).
MAZE = [
    ("ppo", 100_000, 7.5),
    ("deepmdp", 100_000, 7.5),
    ("deepspi", 100_000, 7.8),
    ("deepspi_replay", 100_000, 7.8),
    ("hybrid", 200_000, 7.8),
]


def summary(run: Path, *words: str) -> dict:
    assert main(["train", f"run_dir={run}", "logger=none", "seed=11", *words]) == 0
    return json.loads((run / "summary.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("planner", "steps", "least"), MAZE)
def test_the_maze_is_learnt(planner: str, steps: int, least: float, tmp_path: Path) -> None:
    found = summary(tmp_path / "run", f"planner={planner}", f"total_steps={steps}")
    assert found["maze_value"] >= least
    assert found["maze_latent_distance"] > 0.05


@pytest.mark.slow
def test_the_maze_is_learnt_by_dreaming(tmp_path: Path) -> None:
    """What `make train` shows. Far above what a policy that treats both choice cells alike can do."""
    assert summary(tmp_path / "run")["maze_value"] >= 7.0


@pytest.mark.slow
def test_cartpole_is_learnt(tmp_path: Path) -> None:
    assert summary(tmp_path / "run", "env=gym/CartPole-v1", "planner=ppo", "total_steps=300000")["return_last"] >= 450
