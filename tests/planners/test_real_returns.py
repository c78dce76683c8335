"""What the critic learns of real experience: by hand."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torchrl.objectives.value.functional import generalized_advantage_estimate

from planners.agent import Agent
from planners.heads import Heads
from planners.real_returns import RealValueLoss, real_returns
from planners.value_scale import ReturnDeviation, Reward

N, T, GAMMA, LMBDA = 3, 5, 0.9, 0.8


def experience() -> tuple[TensorDict, torch.Tensor]:
    """A batch ``[N, T]`` with ends, and the values of the states that its steps lead to."""
    torch.manual_seed(1)
    reward, value, next_value = (torch.randn(N, T, 1) for _ in range(3))
    next_value[:, :-1] = value[:, 1:]
    terminated = torch.zeros(N, T, 1, dtype=torch.bool)
    terminated[0, 2] = terminated[2, 4] = True
    _, target = generalized_advantage_estimate(GAMMA, LMBDA, value, next_value, reward, terminated, terminated)
    after = {"reward": reward, "terminated": terminated}
    batch = {"action": torch.randint(2, (N, T)), "value_target": target, "next": after}
    return TensorDict(batch, (N, T)), next_value


def test_what_the_model_expects_is_worth_what_followed(agent: Agent) -> None:
    batch, next_value = experience()
    latent = torch.randn(N * T, *agent.world_model.latent_spec.shape)
    expected = agent.world_model.imagine(latent, batch["action"].flatten()).next_latent
    real = real_returns(latent, expected, batch, GAMMA)
    here, there = real[: N * T], real[N * T :]
    torch.testing.assert_close(here["latent"], latent)
    torch.testing.assert_close(here["real_return"], batch["value_target"].flatten())
    assert (here["counts"] == 1.0).all()
    torch.testing.assert_close(there["latent"], expected)
    over = batch["next", "terminated"].squeeze(-1)
    torch.testing.assert_close(there["counts"].reshape(N, T), (~over).float())
    for n in range(N):
        for t in range(T):
            if over[n, t]:
                continue
            later = batch["value_target"][n, t + 1] if t < T - 1 else next_value[n, t]
            following = (1 - LMBDA) * next_value[n, t] + LMBDA * later
            torch.testing.assert_close(there["real_return"].reshape(N, T)[n, t], following[0])


def test_without_a_future_only_the_states_themselves_count(agent: Agent) -> None:
    batch, _ = experience()
    latent = torch.randn(N * T, *agent.world_model.latent_spec.shape)
    real = real_returns(latent, latent, batch, 0.0)
    assert real["counts"].tolist() == [1.0] * (N * T) + [0.0] * (N * T)
    assert torch.isfinite(real["real_return"]).all()


def test_the_loss_by_hand(agent: Agent) -> None:
    heads: Heads = agent.heads
    latent = torch.randn(4, *agent.world_model.latent_spec.shape)
    real = TensorDict(
        {
            "latent": latent,
            "real_return": torch.tensor([1.0, 2.0, torch.finfo(torch.float32).max / 1e30, 0.0]),
            "counts": torch.tensor([1.0, 1.0, 0.0, 1.0]),
        },
        4,
    )
    value = heads(latent).value
    squared = ((value[0] - 1.0) ** 2 + (value[1] - 2.0) ** 2 + value[3] ** 2) / 3
    module = RealValueLoss(heads, Reward(), 2.0)
    loss = module(real)
    assert list(loss.keys()) == module.out_keys
    torch.testing.assert_close(loss["loss_real_value"], 2.0 * squared)
    loss["loss_real_value"].backward()
    assert heads.critic.weight.grad is not None and heads.actor.weight.grad is None
    scale = ReturnDeviation()
    scale.update(torch.tensor([0.0, 20.0]))
    torch.testing.assert_close(RealValueLoss(heads, scale, 2.0)(real)["loss_real_value"], 2.0 * squared / scale.square)
