"""Who plays, when, and by which policy, and how worker processes go on after a stop. ``ray`` is in ``tests/ray``."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDictBase

from dreamspi.checkpoints import CheckpointStore
from dreamspi.collectors.local import Processes
from dreamspi.envs.base import VectorEnv
from dreamspi.training import Training
from planners.agent import Agent
from tests.runner.interrupted import CASES
from tests.runner.support import assert_resumes_as, configured, last_states, rows, trained


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def judged(agent: Agent, batch: TensorDictBase) -> torch.Tensor:
    """What an agent's policy says of a batch."""
    with torch.no_grad():
        return agent.heads(agent.world_model.encode(batch["observation"])).logits


def test_games_begin_once_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """128 Atari games take seconds to begin."""
    begun: list[int] = []
    begin = VectorEnv._begin_all

    def counted(env: VectorEnv, everyone: torch.Tensor) -> torch.Tensor:
        begun.append(len(everyone))
        return begin(env, everyone)

    monkeypatch.setattr(VectorEnv, "_begin_all", counted)
    training = Training(configured(tmp_path / "run", "planner=ppo"))
    training.start()
    training.collection.next()
    training.close()
    assert begun == [8]


class Seeded:
    """In the place of an environment."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs

    def set_seed(self, seed: int) -> None:
        self.seed, self.drawn = seed, float(torch.rand(()))


def test_workers_share_the_copies_and_no_two_have_the_same_seeds() -> None:
    def made(*seeds: int) -> list[Any]:
        return [make() for make in source.makers(np.random.SeedSequence(seeds))]

    source = Processes({"workers": 2}, Seeded, None, 8, 4, "cpu")  # type: ignore[arg-type]
    found, again, others = made(1, 2), made(1, 2), made(1, 3)
    assert [env.num_envs for env in found] == [4, 4]
    assert [vars(env) for env in found] == [vars(env) for env in again]
    assert len({env.seed for env in found + others}) == len({env.drawn for env in found + others}) == 4


def test_overlapping_each_batch_is_by_the_policy_before_the_last_update(tmp_path: Path) -> None:
    words = ["planner=hybrid", "collector.backend=overlap", "planner.dream.optimizers.heads.lr=0.01"]
    training = Training(configured(tmp_path / "run", *words))
    planner, collection = training.planner, training.collection
    played = copy.deepcopy(planner.agent)
    try:
        training.start()
        for iteration in range(4):
            batch, current = collection.next(), copy.deepcopy(planner.agent)
            assert collection.stale == (iteration > 0)
            torch.testing.assert_close(batch["logits"], judged(played, batch), atol=1e-5, rtol=1e-5)
            planner.improve(batch, 0.0, stale=collection.stale)
            assert same(planner.behavior_heads, played.heads)
            assert not same(planner.agent.heads, current.heads)
            played = current
    finally:
        training.close()


def test_overlapping_the_policy_that_plays_does_not_change_while_it_plays(tmp_path: Path) -> None:
    """Weights that are overwritten while workers play reach them with the next batch but one."""
    training = Training(configured(tmp_path / "run", "planner=ppo", "collector.backend=overlap"))
    collection, agent = training.collection, training.planner.agent
    try:
        training.start()
        collection.next()
        before = copy.deepcopy(agent)
        with torch.no_grad():
            agent.heads.actor.bias += torch.arange(agent.heads.actor.bias.numel(), dtype=torch.float32)
        untouched, shifted = collection.next(), collection.next()
    finally:
        training.close()
    for batch, player in ((untouched, before), (shifted, agent)):
        torch.testing.assert_close(batch["logits"], judged(player, batch), atol=1e-5, rtol=1e-5)


def test_overlapping_one_critic_judges_all_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(configured(tmp_path / "run", "planner=ppo"))
    training.start()
    batch, planner = training.collection.next(), training.planner
    training.close()
    with torch.no_grad():
        planner.agent.heads.critic.bias += 3.0
    seen: list[torch.Tensor] = []
    ground = planner.ground.run
    monkeypatch.setattr(planner.ground, "run", lambda b, progress: seen.append(b["state_value"]) or ground(b, progress))
    for stale in (False, True):
        twin = batch.clone()
        planner.improve(twin, 0.0, stale=stale)
        assert torch.equal(twin["state_value"], batch["state_value"]), "what was recorded stays"
        if not stale:
            with torch.no_grad():
                now = planner.agent.heads(planner.encode(batch)).value.unsqueeze(-1)
    assert torch.equal(seen[0], batch["state_value"])
    torch.testing.assert_close(seen[1], now)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["process", "overlap"])
def test_worker_processes(tmp_path: Path, backend: str) -> None:
    """Two of them, whose generators can't be restored: exact where a checkpoint lies at a barrier.

    The run that was killed between its last two checkpoints is made from a finished one: each start of two
    workers takes seconds.
    """
    words = [*CASES["maze-dreamspi"], f"collector.backend={backend}", "collector.workers=2"]
    paces = {"iterations": 6, "checkpoint": 3, "barrier": 3}
    first = trained(tmp_path / "first", *words, **paces)
    assert len({row["ground/loss_value"] for row in rows(first)}) == 3
    run = Path(shutil.copytree(first, tmp_path / "run"))
    CheckpointStore(run / "checkpoints", keep=1, best_metric="return").paths()[0].unlink()
    assert (last_states(run)["info"]["iteration"], last_states(run)["info"]["barrier"]) == (3, 3)
    assert_resumes_as(run, first)
