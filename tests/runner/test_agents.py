"""A trained agent in a program of one's own, as the README shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from dreamspi.agents import load_agent
from dreamspi.errors import UserError
from dreamspi.train import train
from tests.runner.support import RSSM, configured
from tests.support import blocks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    train(configured(path, "planner=dreamspi", "env.max_steps=40", iterations=4, checkpoint=2))
    return path


def test_the_readme_s_program_runs_as_written(run: Path) -> None:
    [program] = blocks("python", "README.md")
    assert "runs/<name>" in program
    names: dict[str, Any] = {}
    exec(program.replace("runs/<name>", str(run)), names)
    games = names["games"]
    assert isinstance(games, TensorDict) and games.shape == (4, 100)
    assert names["probabilities"].shape == (4, 100, 4)
    taken = names["probabilities"].gather(-1, games["action"].unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(taken.log(), games["action_log_prob"], atol=1e-5)
    assert names["step"].next_latent.shape == names["latent"].shape


def test_the_readme_s_program_runs_with_a_memory(tmp_path: Path) -> None:
    """What the agent remembered is carried from step to step, and told again from the games."""
    train(configured(tmp_path / "run", "planner=dreamspi", "env.max_steps=3", *RSSM, iterations=1))
    [program] = blocks("python", "README.md")
    names: dict[str, Any] = {}
    exec(program.replace("runs/<name>", str(tmp_path / "run")), names)
    games = names["games"]
    assert (games["memory"][:, 0] == 0).all() and (games["memory"][:, 1].abs().sum(-1) > 0).all()
    taken = names["probabilities"].gather(-1, games["action"].unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(taken.log(), games["action_log_prob"], atol=1e-5)


def test_it_is_the_agent_of_the_checkpoint(run: Path) -> None:
    first, last = sorted((run / "checkpoints").iterdir())
    newest, oldest = load_agent(run), load_agent(str(run), checkpoint=str(first), num_envs=3)
    assert (newest.checkpoint, newest.step, oldest.step) == (last, 128, 64)
    assert newest.env.batch_size == (1,) and oldest.env.batch_size == (3,)
    assert newest.config.choices.planner == "dreamspi"
    assert not torch.equal(
        *(torch.cat([p.flatten() for p in t.planner.agent.heads.parameters()]) for t in (newest, oldest))
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"run": "nowhere"}, "nowhere: no such run directory"),
        ({"checkpoint": "worst"}, "checkpoint=worst: no such checkpoint.* Allowed: newest, best"),
        ({"device": "gpu"}, "device=gpu: must be cpu, cuda or cuda:<index>"),
        ({"device": "cuda:7"}, "device=cuda:7: torch finds no such device here"),
    ],
)
def test_what_is_not_there_is_told(run: Path, words: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_agent(**{"run": run, **words})  # type: ignore[arg-type]
