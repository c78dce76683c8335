"""The unit of the critic's errors: exact statistics, and a loss that does not know the scale of the rewards."""

from __future__ import annotations

import copy

import pytest
import torch

from planners.agent import Agent
from planners.ground import GroundLoss
from planners.utility import Advantage
from planners.value_scale import ReturnDeviation, Reward
from tests.planners.ground_phase import CLIP, with_advantages


def test_the_variance_is_that_of_all_targets_so_far() -> None:
    torch.manual_seed(0)
    batches = [3.0 + 2.0 * torch.randn(n, 4) for n in (5, 50, 1)]
    scale = ReturnDeviation()
    assert scale.square == 1.0
    for batch in batches:
        scale.update(batch)
    assert float(scale.square) == pytest.approx(float(torch.cat(batches).double().var(unbiased=False)), rel=1e-6)


def test_equal_targets_do_not_divide_by_zero() -> None:
    scale = ReturnDeviation()
    scale.update(torch.full((100,), 7.0))
    assert 0.0 < scale.square < 1e-5


def test_state_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(10), torch.randn(10) + 5
    whole, part, resumed = ReturnDeviation(), ReturnDeviation(), ReturnDeviation()
    whole.update(first)
    part.update(first)
    resumed.load_state_dict(copy.deepcopy(part.state_dict()))
    for scale in (whole, resumed):
        scale.update(second)
    assert resumed.square == whole.square


def test_the_loss_of_rewards_a_thousand_times_larger_is_the_same(agent: Agent) -> None:
    batch = with_advantages(agent)
    found = {}
    for kind in (Reward, ReturnDeviation):
        for times in (1.0, 1000.0):
            twin, scale = copy.deepcopy(agent), kind()
            with torch.no_grad():  # a critic and targets in the larger unit
                twin.heads.critic.weight *= times
                twin.heads.critic.bias *= times
            seen = batch.clone()
            seen["value_target"] = batch["value_target"] * times
            scale.update(seen["value_target"])
            found[kind, times] = GroundLoss(twin, Advantage(), CLIP, scale, 0.5, 0.01)(seen)["loss_value"].item()
    assert found[ReturnDeviation, 1000.0] == pytest.approx(found[ReturnDeviation, 1.0], rel=1e-4)
    assert found[Reward, 1000.0] == pytest.approx(1e6 * found[Reward, 1.0], rel=1e-4)
