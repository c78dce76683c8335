"""A loss or gradient that is not finite: exit code 3, what broke, and a checkpoint from before it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from torch import Tensor

from dreamspi.cli import main
from dreamspi.collection import Collection
from dreamspi.config import compose
from dreamspi.training import Training
from planners.dream import DreamLoss
from planners.ground import GroundLoss
from planners.optimization import NotFinite
from tests.runner.support import rows, states
from tests.support import tiny

PACES = {"iterations": 8, "checkpoint": 2}


def tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    children = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for child in children for tensor in tensors(child)]


def diverges(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a run in ``run`` ends with, after it was seen to leave a sound checkpoint."""
    assert main(["train", *words, "run_dir=run"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("dreamspi: ") and err.count("\n") == 1, err
    found = re.search(r"Last good checkpoint: (\S+)\.$", err.strip())
    assert found is not None, err
    if found[1] != "none":
        learner = tensors(states(Path(found[1]))["planner"])
        assert len(learner) > 10 and all(torch.isfinite(tensor).all() for tensor in learner)
    assert not Path("run/summary.json").exists()
    return err


def poison(monkeypatch: pytest.MonkeyPatch, cls: type, method: str, call: int, change: Any) -> None:
    """Changes what one call of a method returns; ``call`` counts from 1."""
    original, calls = getattr(cls, method), []

    def poisoned(self: Any, *args: Any, **keys: Any) -> Any:
        result = original(self, *args, **keys)
        calls.append(None)
        return change(self, result) if len(calls) == call else result

    monkeypatch.setattr(cls, method, poisoned)


def infinite_reward(_: Collection, batch: TensorDictBase) -> TensorDictBase:
    batch["next", "reward"][0, 0] = torch.inf
    return batch


def infinite_slope(loss: GroundLoss, losses: TensorDictBase) -> TensorDictBase:
    """Adds ``sqrt(0)`` of a parameter: a loss of 0 with a gradient that is not finite."""
    bias = loss.agent.heads.critic.bias
    losses["loss_value"] = losses["loss_value"] + (bias - bias.detach()).square().sum().sqrt()
    return losses


def nan_loss(_: DreamLoss, losses: TensorDictBase) -> TensorDictBase:
    losses["loss_value"] = losses["loss_value"] * torch.nan
    return losses


def test_a_reward_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    poison(monkeypatch, Collection, "next", 6, infinite_reward)
    message = diverges(tiny("planner=deepspi", **PACES), capsys)
    assert re.search(r"ground/.*loss_value.* is not finite, after 160 steps", message)
    assert "run/checkpoints/checkpoint-000000000128.torchrl" in message
    assert [row["env_steps"] for row in rows(Path("run"))] == ["64", "128"]


def test_a_gradient(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    poison(monkeypatch, GroundLoss, "forward", 9, infinite_slope)  # two minibatches a batch
    message = diverges(tiny("planner=deepspi", **PACES), capsys)
    assert "the gradient of ground.policy (encoder, heads) is not finite, after 128 steps" in message


def test_a_dream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    poison(monkeypatch, DreamLoss, "forward", 5, nan_loss)
    message = diverges(tiny("planner=dreamspi", **PACES), capsys)
    assert "dream/loss_value is not finite, after 64 steps" in message
    assert "checkpoint-000000000064.torchrl" in message


@pytest.mark.parametrize(
    "words",
    [
        ["planner=dreamspi", "planner.dream.optimizers.heads.lr=1e30", "planner.dream.repeats=2"],
        ["planner=dreamspi", "planner.ground.optimizers.model.lr=1e10", "planner.dream.ends=sampled"],
        ["planner=dreamspi", "world_model=categorical", "planner.ground.optimizers.model.lr=1e16"],
        ["planner=dreamspi", "world_model=normal", "planner.ground.optimizers.model.lr=1e10"],
    ],
)
def test_nothing_is_drawn_from_what_has_diverged(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """After a single update, whose own loss was finite, a dream draws before the next loss is asked."""
    once = ["planner.ground.minibatches=1", "planner.dream.minibatches=1"]
    told = diverges(tiny(*words, *once, iterations=8), capsys)
    assert re.search(r"a distribution that the policy or the world model gives is not finite, after \d+ steps", told)


def test_a_policy_that_has_diverged_plays_no_game() -> None:
    training = Training(compose(tiny("planner=ppo")))
    training.start()
    training.planner.agent.heads.actor.bias.data.fill_(torch.nan)
    with pytest.raises(NotFinite, match="a distribution that the policy or the world model gives is not finite"):
        training.iterate()
    training.close()


def test_before_the_first_checkpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    poison(monkeypatch, Collection, "next", 1, infinite_reward)
    assert "Last good checkpoint: none." in diverges(tiny(**PACES), capsys)


def test_the_agent_of_before_can_be_played_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        poison(patch, Collection, "next", 4, infinite_reward)
        diverges(tiny(**PACES), capsys)
    assert main(["evaluate", "run=run", "episodes=2"]) == 0
    assert main(["train", "resume=run"]) == 0
    assert rows(Path("run"))[-1]["env_steps"] == "256"
