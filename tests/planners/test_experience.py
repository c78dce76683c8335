"""Advantages and segments of real experience."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict, TensorDictBase

from planners.agent import Agent
from planners.experience import add_advantages, segments, take
from tests import gpu
from tests.planners.linear_model import experience


def test_gae_by_hand(agent: Agent) -> None:
    """The recursion written out: bootstrap stops at terminated, continues at truncated, neither is crossed."""
    batch = experience(agent, envs=6, steps=5, seed=3)
    gamma, lmbda = 0.9, 0.8

    def value(states: TensorDictBase) -> torch.Tensor:
        return agent.heads(agent.world_model.encode(states["observation"])).value

    with torch.no_grad():
        found = add_advantages(batch, value, gamma, lmbda)
        successor = value(batch["next"])
    after = batch["next"]
    assert after["terminated"].any() and after["truncated"].any()
    for n in range(6):
        running = 0.0
        for t in reversed(range(5)):
            bootstrap = 0.0 if after["terminated"][n, t] else gamma * float(successor[n, t])
            delta = float(after["reward"][n, t]) + bootstrap - float(batch["state_value"][n, t])
            running = delta + (0.0 if after["done"][n, t] else gamma * lmbda * running)
            torch.testing.assert_close(found["advantage"][n, t, 0].item(), running, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["value_target"], found["advantage"] + batch["state_value"])
    assert "advantage" not in batch.keys()


def test_segments_keep_time_in_order(agent: Agent) -> None:
    batch = experience(agent, envs=2, steps=8)
    pieces = segments(batch, 4)
    assert pieces.shape == (4, 4)
    torch.testing.assert_close(pieces["observation"][1], batch["observation"][0, 4:])
    torch.testing.assert_close(pieces["observation"][2], batch["observation"][1, :4])


def test_indices_go_to_a_gpu_once_and_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = TensorDict({"a": torch.arange(5), "next": {"b": torch.arange(10).reshape(5, 2)}}, 5)
    indices, pinned = torch.tensor([4, 0, 2]), []
    with gpu.present():
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
        taken = take(batch.to(gpu.GPU), indices)
    assert len(pinned) == 1 and torch.equal(pinned[0], indices)
    assert taken["a"].tolist() == [4, 0, 2] and taken["next", "b"].tolist() == [[8, 9], [0, 1], [4, 5]]
    assert taken["a"].device == torch.device(gpu.GPU)
