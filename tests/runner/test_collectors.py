"""Who plays, when, and by which policy. ``process`` is tried with resuming, ``ray`` in ``tests/ray``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensordict import TensorDictBase

from dreamspi.envs.base import VectorEnv
from dreamspi.training import Training
from planners.heads import Heads
from tests.runner.support import configured


def states(heads: Heads) -> list[torch.Tensor]:
    return [p.detach().clone() for p in heads.parameters()]


def judged(training: Training, batch: TensorDictBase) -> torch.Tensor:
    """What the policy as it is now says of a batch."""
    with torch.no_grad():
        return training.planner.agent.heads(training.planner.encode(batch["observation"])).logits


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


def test_overlapping_each_batch_is_by_the_policy_before_the_last_update(tmp_path: Path) -> None:
    words = ["planner=hybrid", "collector.backend=overlap", "planner.dream.optimizers.heads.lr=0.01"]
    training = Training(configured(tmp_path / "run", *words))
    training.start()
    planner, collection = training.planner, training.collection
    before: list[torch.Tensor] | None = None
    for iteration in range(3):
        batch = collection.next()
        current = states(planner.agent.heads)
        assert collection.stale == (iteration > 0)
        differs = (batch["logits"] - judged(training, batch)).abs().max()
        assert differs > 1e-3 if iteration else differs < 1e-6
        planner.improve(batch, 0.0, stale=collection.stale)
        for held, gathered in zip(planner.behavior_heads.parameters(), before or current, strict=True):
            assert torch.equal(held, gathered)
        before = current
    training.close()


def test_overlapping_the_policy_that_plays_does_not_change_while_it_plays(tmp_path: Path) -> None:
    """Weights that are overwritten while workers play reach them with the next batch but one."""
    training = Training(configured(tmp_path / "run", "planner=ppo", "collector.backend=overlap"))
    training.start()
    collection, agent = training.collection, training.planner.agent
    collection.next()
    with torch.no_grad():
        agent.heads.actor.bias += torch.arange(agent.heads.actor.bias.numel(), dtype=torch.float32)
    untouched, shifted = collection.next(), collection.next()
    training.close()
    assert (untouched["logits"] - judged(training, untouched)).abs().max() > 0.5
    torch.testing.assert_close(shifted["logits"], judged(training, shifted), atol=1e-5, rtol=1e-5)
