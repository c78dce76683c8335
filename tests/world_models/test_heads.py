"""Reward and termination heads: exact two-hot values, rewards of every scale, bad keys."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from world_models.heads import (
    AbsoluteTermination,
    BernoulliTermination,
    LipschitzReward,
    ScalarReward,
    TwoHotReward,
)

HEAD = TwoHotReward((6,), 3, bins=255, limit=10.0)


@given(st.floats(-22000, 22000, width=32))
def test_two_hot_decodes_to_the_reward(reward):
    weights = HEAD.two_hot(torch.tensor(reward)).double()
    assert (weights >= 0).all() and weights.sum().item() == pytest.approx(1, abs=1e-6)
    assert (weights > 0).sum() <= 2
    assert (weights * HEAD.bins.double()).sum().item() == pytest.approx(reward, rel=1e-4, abs=1e-5)


def test_two_hot_by_hand():
    head = TwoHotReward((6,), 3, bins=3, limit=2.0)  # bins -6.389, 0, 6.389
    assert torch.allclose(head.two_hot(torch.tensor(0.0)), torch.tensor([0.0, 1.0, 0.0]))
    half = head.bins[2] / 2
    assert torch.allclose(head.two_hot(half), torch.tensor([0.0, 0.5, 0.5]))
    assert torch.allclose(head.two_hot(torch.tensor(-1e6)), torch.tensor([1.0, 0.0, 0.0]))


def test_reward_is_exactly_zero_before_training():
    latent, action = torch.randn(10, 6), torch.randint(0, 3, (10,))
    assert (HEAD(latent, action) == 0).all()
    assert (ScalarReward((6,), 3)(latent, action) == 0).all()


def test_two_hot_learns_rare_rewards_of_every_scale():
    torch.manual_seed(0)
    head = TwoHotReward((6,), 3, hidden=64)
    latent, action = torch.eye(6), torch.zeros(6, dtype=torch.long)
    reward = torch.tensor([0.0, 1.0, -47.0, 5.3, 300.0, -0.01])
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    for _ in range(1500):
        loss = head.loss(latent, action, reward)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    assert (loss >= -1e-6).all() and loss.max() < 1e-3
    assert torch.allclose(head(latent, action), reward, rtol=0.03, atol=0.3)


def test_two_hot_promises_no_reward_outside_of_what_it_has_seen():
    head = TwoHotReward((6,), 3)
    latent, action = torch.randn(50, 6), torch.zeros(50, dtype=torch.long)
    torch.nn.init.normal_(head.output.weight)
    torch.nn.init.zeros_(head.output.bias)  # mass everywhere: the raw means are in the hundreds
    head.seen.copy_(torch.tensor([-1e9, 1e9]))
    assert head(latent, action).abs().max() > 100
    head.seen.zero_()
    head.loss(latent[:2], action[:2], torch.tensor([-3.0, 0.5]))
    head.loss(latent[:2], action[:2], torch.tensor([0.0, 7.0]))
    assert head.seen.tolist() == [-3.0, 7.0]
    assert head(latent, action).min() >= -3.0 and head(latent, action).max() <= 7.0
    assert "seen" in head.state_dict()


def test_scalar_losses_by_hand():
    latent, action = torch.randn(2, 6), torch.zeros(2, dtype=torch.long)
    reward = torch.tensor([3.0, -2.0])
    assert torch.equal(ScalarReward((6,), 3, loss="l1").loss(latent, action, reward), torch.tensor([3.0, 2.0]))
    assert torch.equal(ScalarReward((6,), 3, loss="squared").loss(latent, action, reward), torch.tensor([9.0, 4.0]))


def test_termination_losses_agree_with_the_probability():
    torch.manual_seed(0)
    latent, other, action = torch.randn(4, 6), torch.randn(4, 6), torch.zeros(4, dtype=torch.long)
    ended = torch.tensor([True, False, True, False])
    for cls in (BernoulliTermination, AbsoluteTermination):
        head = cls((6,), 3, initial=0.02)
        assert torch.allclose(head(latent, action, other), torch.tensor(0.02), atol=1e-6)
        wrong = torch.where(ended, 0.98, 0.02)
        expected = -(1 - wrong).log() if cls is BernoulliTermination else wrong
        assert torch.allclose(head.loss(latent, action, other, ended), expected, atol=1e-5)


def test_termination_sees_latent_and_action_beside_the_next_latent():
    """At an Atari game over ``z' = z``: the end must still be predictable."""
    head = BernoulliTermination((6,), 3)
    torch.nn.init.normal_(head.output.weight)
    latent, action = torch.randn(1, 6), torch.tensor([0])
    assert head(latent, action, latent) != head(latent, torch.tensor([1]), latent)
    assert head(latent, action, latent) != head(latent + 1, action, latent)


def test_two_hot_learns_ten_thousand():
    torch.manual_seed(0)
    head = TwoHotReward((6,), 3, hidden=64)
    latent, action, reward = torch.eye(6)[:2], torch.zeros(2, dtype=torch.long), torch.tensor([1e4, -1e4])
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(latent, action, reward).mean().backward()
        optimizer.step()
    assert torch.allclose(head(latent, action), reward, rtol=0.01)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: TwoHotReward((6,), 3, bins=64), "world_model.reward.bins"),
        (lambda: TwoHotReward((6,), 3, limit=0), "world_model.reward.limit"),
        (lambda: TwoHotReward((6,), 3, limit=90.0), "world_model.reward.limit=90.0: must be above 0 and at most 80"),
        (lambda: ScalarReward((6,), 3, loss="l3"), "world_model.reward.loss"),
        (lambda: LipschitzReward((6,), 3, loss="l3"), "world_model.reward.loss"),
        (lambda: BernoulliTermination((6,), 3, initial=1.0), "world_model.termination.initial"),
        (lambda: TwoHotReward((6,), 3, hidden=0), "world_model.reward.hidden=0: must be at least 1"),
        (lambda: ScalarReward((6,), 3, hidden=0), "world_model.reward.hidden=0: must be at least 1"),
        (lambda: LipschitzReward((6,), 3, hidden=0), "world_model.reward.hidden=0: must be at least 1"),
        (lambda: BernoulliTermination((6,), 3, hidden=0), "world_model.termination.hidden=0: must be at least 1"),
    ],
)
def test_bad_values_name_their_key(make, key):
    with pytest.raises(ValueError) as error:
        make()
    assert key in str(error.value)
