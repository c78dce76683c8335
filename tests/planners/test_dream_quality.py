"""The numbers that judge dreams, against models that are wrong by a known amount."""

from __future__ import annotations

import math

import pytest
import torch
from tensordict import TensorDict
from torchrl.data import Categorical

from planners.agent import Agent
from planners.dream_quality import DreamQuality, agree, calibrate, judge, typical_distance
from planners.open_loop import open_loop
from tests.planners.drift import agent, sequences
from world_models.tabular import TabularModel


def quality(mean: bool = False, gamma: float = 0.9, horizon: int = 5, **wrong: object) -> DreamQuality:
    experience, beliefs = sequences(40, 9)
    return judge(open_loop(agent(**wrong), experience, beliefs, horizon, 10_000, mean), 8.0, gamma)


def test_a_perfect_model_has_no_errors() -> None:
    found = quality()
    zero = [0.0] * 5
    assert found.latent_error == found.latent_error_relative == found.reward_error == found.value_error == zero
    assert found.reward_error_on_largest == zero and found.counted == [200] * 5
    assert (found.returns.error, found.returns.bias, found.returns.count) == (0.0, 0.0, 200)
    assert found.returns.correlation == pytest.approx(1.0)
    assert (found.termination.error, found.termination.brier, found.termination.frequency) == (0.0, 0.0, 0.0)


def test_a_drift_grows_with_the_horizon() -> None:
    """After h steps the model is h (0.5, -0.25) away; a reward is told from where its step starts."""
    found = quality(error=(0.5, -0.25))
    steps = range(1, 6)
    assert found.latent_error == pytest.approx([0.75 * h for h in steps])
    assert found.latent_error_relative == pytest.approx([0.75 * h / 8 for h in steps])
    assert found.still_error_relative == pytest.approx([h / 8 for h in steps])
    assert found.value_error == pytest.approx([1.5 * h for h in steps])
    assert quality(error=(0.0, 0.25)).reward_error == pytest.approx([0.5 * (h - 1) for h in steps])
    returns = quality(error=(0.0, 0.25)).returns
    assert returns.bias == returns.error == pytest.approx(sum(0.5 * (h - 1) * 0.9 ** (h - 1) for h in steps))
    assert quality(error=(0.0, -0.25)).returns.bias == pytest.approx(-returns.bias, rel=1e-5)


def test_chance_spreads_a_sampled_dream_and_not_the_mean() -> None:
    """A normal error of standard deviation 0.5 in both directions, h times: ``2 sqrt(2 h / pi) 0.5`` on average."""
    sampled = quality(noise=0.5).latent_error
    assert sampled == pytest.approx([math.sqrt(2 * h / math.pi) for h in range(1, 6)], rel=0.1)
    assert quality(mean=True, noise=0.5).latent_error == [0.0] * 5


def test_ends_that_are_expected_in_vain() -> None:
    found = quality(ends=0.25)
    for calibration in (found.termination_first, found.termination):
        assert (calibration.error, calibration.brier) == pytest.approx((0.25, 0.0625))
        assert (calibration.predicted, calibration.frequency) == (0.25, 0.0)
        (only,) = calibration.bins
    assert found.termination.bins[0].count == 1000 == 5 * found.termination_first.bins[0].count
    assert only.predicted == 0.25
    assert found.returns.bias < 0


def test_what_comes_after_an_end_counts_nowhere() -> None:
    """Every second step ends: only the first two of each window count, and the critic is asked of no end."""
    terminated = (torch.arange(9) % 2 == 1).expand(40, 9)
    experience, beliefs = sequences(40, 9, terminated)
    found = judge(open_loop(agent(error=(0.5, 0.0)), experience, beliefs, 4, 10_000), 8.0, 0.9)
    assert found.counted == [240, 120, 0, 0]
    assert found.latent_error[:2] == pytest.approx([0.5, 1.0]) and all(math.isnan(e) for e in found.latent_error[2:])
    assert found.value_error[0] == pytest.approx(1.5) and math.isnan(found.value_error[1])
    assert found.termination.frequency == pytest.approx(240 / 360) and found.termination_first.frequency == 0.5
    assert found.returns.count == 240


def test_calibration_by_hand() -> None:
    predicted = torch.tensor([0.04, 0.06, 0.95, 0.85, 1.0, 0.0])
    happened = torch.tensor([False, True, True, False, True, False])
    found = calibrate(predicted, happened)
    assert [(b.count, b.frequency) for b in found.bins] == [(3, pytest.approx(1 / 3)), (1, 0.0), (2, 1.0)]
    assert [b.predicted for b in found.bins] == pytest.approx([0.1 / 3, 0.85, 1.95 / 2])
    assert found.error == pytest.approx((0.9 + 0.85 + 0.05) / 6)
    squares = [0.04**2, 0.94**2, 0.05**2, 0.85**2, 0.0, 0.0]
    assert found.brier == pytest.approx(sum(squares) / 6)
    assert (found.predicted, found.frequency) == pytest.approx((2.9 / 6, 0.5))


def test_a_known_bias_is_found_and_a_calibrated_forecast_has_none() -> None:
    torch.manual_seed(0)
    truth = torch.rand(200_000) * 0.8
    happened = torch.bernoulli(truth).bool()
    assert calibrate(truth, happened).error < 0.005
    assert calibrate(truth + 0.15, happened).error == pytest.approx(0.15, abs=0.005)
    assert calibrate(truth, happened).brier == pytest.approx(float((truth * (1 - truth)).mean()), abs=0.003)


def test_a_dream_that_blows_up_is_judged_all_the_same() -> None:
    found = quality(ends=math.nan, error=(math.inf, 0.0))
    assert math.isnan(found.termination.error) and math.isnan(found.returns.error)
    assert found.latent_error == [math.inf] * 5


def test_agreement_by_hand() -> None:
    found = agree(torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([1.0, 3.0, 2.0, 4.0]))
    assert (found.error, found.bias, found.count) == (1.0, 0.5, 4)
    assert found.correlation == pytest.approx(7.0 / math.sqrt(14 * 5))
    assert math.isnan(agree(torch.ones(3), torch.rand(3)).correlation)
    assert math.isnan(agree(torch.ones(1), torch.ones(1)).correlation)
    assert math.isnan(agree(torch.ones(0), torch.ones(0)).error)


def test_the_typical_distance_is_that_of_two_different_states() -> None:
    assert typical_distance(torch.eye(7)) == 2.0
    assert typical_distance(torch.ones(5, 2, 3)) == 0.0
    torch.manual_seed(0)
    assert typical_distance(torch.rand(40_000, 1, 2)) == pytest.approx(2 / 3, rel=0.02)


def test_relative_to_nothing_is_unknown() -> None:
    experience, beliefs = sequences()
    found = judge(open_loop(agent(), experience, beliefs, 3, 100), 0.0, 0.9)
    assert all(math.isnan(error) for error in found.latent_error_relative)


def test_a_perfect_table_of_a_random_world() -> None:
    """State 0 leads to 1 with odds 0.8, else to 2, which pays -10 and ends: what can be known is known, and what is
    left of the latent error is chance, ``2 (2 x 0.8 x 0.2)``."""
    torch.manual_seed(0)
    rows = 20_000
    model = TabularModel(Categorical(3, shape=()), 1)
    model.network.table.entries.data.zero_()
    model.network.table.entries.data[0, 0] = torch.tensor([0.0, 0.8, 0.2]).log().clamp_min(-1e4) / 10
    model.network.table.entries.data[1:, 0] = 1e3 * torch.eye(3)[1:]
    model.reward_head.table.entries.data[:, 0, 0] = torch.tensor([0.0, 1.0, -10.0]).asinh() / 10
    model.termination_head.table.entries.data[:] = -1e3
    model.termination_head.table.entries.data[2] = 1e3
    second = torch.where(torch.rand(rows) < 0.2, 2, 1)
    place = torch.stack((torch.zeros(rows, dtype=torch.long), second, second), 1)
    reward = torch.tensor([0.0, 1.0, -10.0])[place[:, :2]].unsqueeze(-1)
    terminated = torch.stack((torch.zeros(rows, dtype=torch.bool), second == 2), 1).unsqueeze(-1)
    after = TensorDict({"reward": reward, "terminated": terminated, "done": terminated}, [rows, 2])
    experience = TensorDict({"action": torch.zeros(rows, 2, dtype=torch.long), "next": after}, [rows, 2])
    beliefs = model.encode(place[:, :2]), model.encode(place[:, 1:])
    agent = Agent(model, hidden=4)
    sampled = judge(open_loop(agent, experience, beliefs, 2, rows), 1.0, 0.9)
    assert sampled.latent_error == pytest.approx([0.64, 0.64], rel=0.03)
    assert sampled.reward_error[0] == 0.0 and sampled.reward_error[1] == pytest.approx(0.32 * 11, rel=0.03)
    assert sampled.termination_first.error == 0.0
    assert sampled.termination.predicted == pytest.approx(sampled.termination.frequency, abs=0.005)
    assert sampled.termination.error == pytest.approx(0.16, abs=0.01), "it foresees the end of another fate"
    assert sampled.returns.bias == pytest.approx(0.0, abs=0.15)
    assert sampled.returns.correlation == pytest.approx(0.0, abs=0.03), "the dream's chance is not the world's"
