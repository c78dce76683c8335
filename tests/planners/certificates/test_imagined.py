"""Imagined returns by hand, the improvement with its radius and its tail, and dreams that diverge."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from planners.agent import Agent
from planners.certificates.confidence import hoeffding_radius
from planners.certificates.imagined import Imagined, bellman_residual, imagined, improvement, paired
from tests.planners.linear_model import LinearModel


def constant(agent: Agent, reward: float, value: float) -> None:
    """A reward and a critic that are the same everywhere."""
    with torch.no_grad():
        for layer, number in ((agent.world_model.reward_net, reward), (agent.heads.critic, value)):
            layer.weight.zero_()
            layer.bias.fill_(number)


def test_imagined_returns_of_a_constant_world() -> None:
    """Reward r at each step, an end with probability q: r (1 - (g (1 - q))^H) / (1 - g (1 - q))."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.2), hidden=8)
    constant(agent, 2.0, 7.0)
    found = imagined(agent.world_model, agent.heads, torch.randn(5, 4), 0.9, 20)
    rate = 0.9 * 0.8
    torch.testing.assert_close(found.rewards.sum(1), torch.full((5,), 2.0 * (1 - rate**20) / (1 - rate)))
    torch.testing.assert_close(found.beyond, torch.full((5,), 7.0 * rate**20))


def test_the_bellman_residual_of_a_constant_world() -> None:
    agent = Agent(LinearModel(ends=0.2), hidden=8)
    constant(agent, 2.0, 7.0)
    found = bellman_residual(agent.world_model, agent.heads, torch.randn(5, 4), 0.9)
    assert found == pytest.approx(abs(2.0 + 0.9 * 0.8 * 7.0 - 7.0), rel=1e-5)


def test_the_improvement_of_the_same_policy_is_zero(agent: Agent) -> None:
    dreams = paired(agent.world_model, agent.heads, copy.deepcopy(agent.heads), torch.randn(300, 4), 0.9, 10)
    assert improvement(*dreams, units=300, p=0.1).mean == 0.0


def test_the_improvement_pays_for_its_tail_and_for_chance() -> None:
    before = Imagined(torch.zeros(4, 2), torch.tensor([1.0, -1.0, 1.0, 1.0]))
    after = Imagined(torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 2.0], [-1.0, -1.0]]), torch.tensor([2.0, 0, 0, 0]))
    found = improvement(before, after, units=2, p=0.1)
    assert found.mean == pytest.approx((3 + 0 + 5 - 2) / 4) and found.tail == pytest.approx((3 + 1 + 1 + 1) / 4)
    width = 2 * (5.0 - -2.0) + 3.0
    assert found.radius == pytest.approx(hoeffding_radius(width, 2, 0.1)), "returns from -2 to 5, a tail of up to 3"
    assert found.lower == pytest.approx(found.mean - found.tail - found.radius)


def test_gains_that_are_seldom_seen_leave_a_radius() -> None:
    """Two policies that hardly differ act alike on the same random numbers, all 200 times: no proof that it is so."""
    same = Imagined(torch.full((200, 1), 7.0), torch.zeros(200))
    assert improvement(same, same, units=200, p=0.05).radius == pytest.approx(hoeffding_radius(14.0, 200, 0.05))


@pytest.mark.parametrize("growth", [20.0, 1e30])
def test_a_dream_that_diverges_is_no_dream(agent: Agent, growth: float) -> None:
    """Also where a single step leads to infinity: nothing is drawn from what is no number."""
    with torch.no_grad():
        agent.world_model.mean.weight.fill_(growth)
    latent = torch.randn(6, 4)
    assert imagined(agent.world_model, agent.heads, latent, 0.9, 60) is None
    assert paired(agent.world_model, agent.heads, agent.heads, latent, 0.9, 60) == (None, None)


def test_what_comes_after_the_end_cannot_diverge() -> None:
    agent = Agent(LinearModel(ends=1.0), hidden=8)
    with torch.no_grad():
        agent.world_model.mean.weight.fill_(20.0)
    found = imagined(agent.world_model, agent.heads, torch.randn(6, 4), 0.9, 60)
    assert not found.rewards[:, 1:].any() and not found.beyond.any()


def test_a_policy_of_no_numbers_is_no_dream(agent: Agent) -> None:
    with torch.no_grad():
        agent.heads.actor.bias.fill_(torch.nan)
    assert imagined(agent.world_model, agent.heads, torch.randn(6, 4), 0.9, 3) is None
    assert math.isnan(bellman_residual(agent.world_model, agent.heads, torch.randn(6, 4), 0.9))
