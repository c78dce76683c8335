"""Advantages and latents of real experience."""

from __future__ import annotations

import torch

from planners.agent import Agent
from planners.experience import add_advantages, encode_transitions, segments
from tests.planners.linear_model import LinearModel, experience


def test_each_frame_is_encoded_once(agent: Agent) -> None:
    """L + 1 frames a segment and one per inner episode end, with the values of encoding everything twice."""
    batch = experience(agent)
    model = agent.world_model
    assert isinstance(model, LinearModel)
    done = batch["next", "done"].squeeze(-1)
    model.encoded = 0
    latent, successor = encode_transitions(model.encode, batch["observation"], batch["next", "observation"], done)
    inner_ends = int(done[:, :-1].sum())
    assert inner_ends > 0
    assert model.encoded == batch.shape[0] * (batch.shape[1] + 1) + inner_ends
    torch.testing.assert_close(latent, model.encode(batch["observation"]))
    torch.testing.assert_close(successor, model.encode(batch["next", "observation"]))


def test_gradients_of_shared_frames_add_up(agent: Agent) -> None:
    batch = experience(agent)
    model, weight = agent.world_model, torch.randn(2, 4, 8, 4)
    encoder = list(model.encoder_parameters())
    pair = encode_transitions(
        model.encode, batch["observation"], batch["next", "observation"], batch["next", "done"].squeeze(-1)
    )
    shared = torch.autograd.grad((torch.stack(pair) * weight).sum(), encoder)
    twice = torch.stack((model.encode(batch["observation"]), model.encode(batch["next", "observation"])))
    for a, b in zip(shared, torch.autograd.grad((twice * weight).sum(), encoder), strict=True):
        torch.testing.assert_close(a, b)


def test_gae_by_hand(agent: Agent) -> None:
    """The recursion written out: bootstrap stops at terminated, continues at truncated, neither is crossed."""
    batch = experience(agent, envs=6, steps=5, seed=3)
    gamma, lmbda = 0.9, 0.8

    def value(observation: torch.Tensor) -> torch.Tensor:
        return agent.heads(agent.world_model.encode(observation)).value

    with torch.no_grad():
        found = add_advantages(batch, value, gamma, lmbda)
        successor = value(batch["next", "observation"])
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
