"""A policy with a memory wherever the runner plays: training, worker processes, evaluation, certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensordict import TensorDictBase

from dreamspi.cli import main
from dreamspi.training import Training
from tests.runner.support import RSSM, configured
from tests.support import dreams, tiny

SMALL = [*RSSM, "env.max_steps=5"]


def batches(training: Training, count: int) -> list[TensorDictBase]:
    training.start()
    return [training.collection.next().clone() for _ in range(count)]


@pytest.mark.parametrize("backend", ["direct", "process", pytest.param("overlap", marks=pytest.mark.slow)])
def test_the_memory_is_carried_from_step_to_step_and_begins_anew(tmp_path: Path, backend: str) -> None:
    words = ["planner=deepspi", f"collector.backend={backend}", *SMALL]
    training = Training(configured(tmp_path / "run", *words))
    try:
        first, second = batches(training, 2)
    finally:
        training.close()
    walk = torch.cat((first, second), 1)
    done = walk["next", "done"]
    assert done[:, :-1].any() and not done[:, :-1].all()
    carried = torch.where(done, 0.0, walk["next", "memory"])[:, :-1]
    assert torch.equal(walk["memory"][:, 1:], carried), "also across the two batches"
    assert walk["next", "memory"].abs().sum() > 0 and (walk["memory"][:, 0] == 0).all()


def test_latents_of_a_fresh_batch_are_those_that_the_policy_acted_on(tmp_path: Path) -> None:
    """So that every importance ratio begins at 1."""
    training = Training(configured(tmp_path / "run", "planner=deepspi", *SMALL))
    _, batch = batches(training, 2)
    with torch.no_grad():
        torch.testing.assert_close(training.planner.agent.world_model.latents(batch), batch["latent"])
    training.close()


@pytest.mark.parametrize("planner", ["ppo", "deepmdp", "deepspi", "deepspi_replay", "dreamspi", "hybrid"])
def test_projection_holds_a_policy_with_a_memory(planner: str, tmp_path: Path) -> None:
    words = [f"planner={planner}", "log_every=1", "planner.neighborhood=project"]
    words.append("planner.ground.optimizers.policy.lr=0.04")
    if dreams(planner):
        words.append("planner.dream.optimizers.heads.lr=0.05")
    training = Training(configured(tmp_path / "run", *words, *SMALL, iterations=3))
    training.start()
    left = False
    for _ in range(3):
        metrics = training.iterate()
        assert metrics["neighborhood/d_inf"] >= 0.9 and metrics["neighborhood/d_sup"] <= 1.1
        left = left or metrics["ground/kept"] < 1.0 or metrics.get("dream/kept", 1.0) < 1.0
    training.close()
    assert left, "without projection the policy would have left"


def test_a_run_is_evaluated_and_certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", f"run_dir={run}", *tiny("planner=hybrid", *SMALL)]) == 0
    assert "maze_value" not in (run / "summary.json").read_text(), "the policy is no function of the cell"
    assert main(["evaluate", f"run={run}", "episodes=3"]) == 0
    assert main(["certify", f"run={run}", "episodes=3", "horizon=4"]) == 0
    assert "Theorem 2" in capsys.readouterr().out
