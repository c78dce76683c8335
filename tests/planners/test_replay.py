"""Replayed experience: V-trace against its definition, the clip where the present policy is, the buffer's contents."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from planners.agent import Agent
from planners.experience import add_advantages
from planners.ground import GroundLoss
from planners.replay import LOG_RATIO, ReplayGround, ReplayLoss, corrected
from planners.utility import Advantage, Unified
from planners.value_scale import Reward
from tests.planners.ground_phase import CLIP, make
from tests.planners.linear_model import experience
from tests.planners.roles import moved, snapshot

GAMMA = 0.9


def moved_on(agent: Agent, by: float = 1.0) -> None:
    """The agent's policy and critic are others afterwards."""
    with torch.no_grad():
        for parameter in agent.heads.parameters():
            parameter.add_(by * torch.randn_like(parameter))


def make_replay(
    agent: Agent, capacity: int = 64, gamma: float = GAMMA, roles: tuple[str, ...] = ("encoder", "model", "heads")
) -> ReplayGround:
    found = make(agent, Unified(0.3, 0.7), roles, ReplayGround, gamma=gamma, capacity=capacity)
    assert isinstance(found, ReplayGround)
    return found


def test_vtrace_by_hand(agent: Agent) -> None:
    """Espeholt et al. (2018), eq. 1, with both thresholds 1; the advantage without the ratio that the objective has."""
    batch = experience(agent, envs=6, steps=5, seed=3)
    moved_on(agent, by=0.3)
    found = corrected(agent, batch, GAMMA)
    value, after = agent.value(batch), batch["next"]
    with torch.no_grad():
        logits, _ = agent.heads(agent.world_model.encode(batch["observation"]))
    successor = agent.value(after)
    log_prob = torch.distributions.Categorical(logits=logits).log_prob(batch["action"])
    ratio = (log_prob - batch["action_log_prob"]).exp()
    assert after["terminated"].any() and after["truncated"].any() and (ratio > 1).any() and (ratio < 1).any()
    assert ratio.log().abs().max() < LOG_RATIO
    for n in range(6):
        beyond, following = 0.0, float(successor[n, -1])  # v - V and v of the next state, in the same episode
        for t in reversed(range(5)):
            reward, here = float(after["reward"][n, t]), float(value[n, t])
            if after["done"][n, t]:
                beyond, following = 0.0, float(successor[n, t])
            goes_on = 0.0 if after["terminated"][n, t] else GAMMA
            weight = min(1.0, float(ratio[n, t]))
            beyond = weight * (reward + goes_on * float(successor[n, t]) - here) + GAMMA * weight * beyond
            advantage = reward + goes_on * following - here
            torch.testing.assert_close(found["advantage"][n, t, 0].item(), advantage, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found["value_target"][n, t, 0].item(), here + beyond, rtol=1e-4, atol=1e-5)
            following = here + beyond
    torch.testing.assert_close(found["reference_log_prob"], log_prob)
    torch.testing.assert_close(found["logits"], logits)
    assert "advantage" not in batch.keys()


def test_what_the_present_policy_gathered_needs_no_correction(agent: Agent) -> None:
    batch = experience(agent, envs=6, steps=5, seed=3)
    found, expected = corrected(agent, batch, GAMMA), add_advantages(batch, agent.value, GAMMA, lmbda=1.0)
    for key in ("advantage", "value_target", "logits"):
        torch.testing.assert_close(found[key], expected[key])
    torch.testing.assert_close(found["reference_log_prob"], batch["action_log_prob"])


def test_a_policy_of_long_ago_counts_no_farther_than_the_limit(agent: Agent) -> None:
    batch = experience(agent)
    batch["action_log_prob"][:2] += 9.0
    batch["action_log_prob"][2:] -= 9.0
    found = corrected(agent, batch, GAMMA)
    apart = found["reference_log_prob"] - batch["action_log_prob"]
    torch.testing.assert_close(apart[:2], torch.full((2, 8), -LOG_RATIO))
    torch.testing.assert_close(apart[2:], torch.full((2, 8), LOG_RATIO))
    assert found["advantage"].isfinite().all() and found["advantage"].abs().max() < 20


def test_the_clip_is_where_the_present_policy_is(agent: Agent) -> None:
    """``min(r U, clip(r, [2 - C, C] pi_old / pi_hist) U)``, ``r = pi / pi_hist``."""
    batch = corrected(agent, experience(agent), GAMMA)
    shift, step = torch.linspace(-1.0, 1.0, 32).view(4, 8), torch.linspace(0.7, 1.3, 8).repeat(4, 1)
    now = batch["reference_log_prob"].clone()
    batch["reference_log_prob"] = now - step.log()
    batch["action_log_prob"] = batch["reference_log_prob"] - shift
    batch["advantage"] = torch.where(torch.arange(32).view(4, 8, 1) % 3 == 0, 2.0, -1.0)
    ratio, utility = step * shift.exp(), batch["advantage"].squeeze(-1)
    utility = (utility - utility.mean()) / utility.std(unbiased=False)
    clipped = step.clamp(0.9, 1.1) * shift.exp()
    found = ReplayLoss(agent, Advantage(), CLIP, Reward(), 0.5, 0.01)(batch)
    torch.testing.assert_close(found["loss_objective"], -torch.minimum(ratio * utility, clipped * utility).mean())
    torch.testing.assert_close(found["clip_fraction"], (step != clipped / shift.exp()).float().mean())
    assert 0 < float(found["clip_fraction"]) < 1


def test_on_fresh_experience_it_is_the_loss_of_every_ground_phase(agent: Agent) -> None:
    batch = corrected(agent, experience(agent), GAMMA)
    settings = (agent, Unified(0.3, 0.7), CLIP, Reward(), 0.5, 0.01)
    replayed, fresh = ReplayLoss(*settings)(batch), GroundLoss(*settings)(batch)
    for key, value in fresh.items():
        torch.testing.assert_close(replayed[key], value)


def marked(agent: Agent, mark: float) -> TensorDict:
    batch = experience(agent, seed=int(mark))
    batch["next", "reward"].fill_(mark)
    return add_advantages(batch, agent.value, GAMMA, 0.95)


def test_it_draws_from_the_newest_steps_the_fresh_ones_among_them(agent: Agent) -> None:
    torch.manual_seed(0)
    phase, drawn = make_replay(agent, capacity=2 * 32 + 5), []
    for mark in range(1, 41):
        assert phase.pieces(marked(agent, float(mark))).shape == (8, 4)
        drawn += [(mark - age).item() for age in phase.replayed["next", "reward"].unique()]
    assert set(drawn) == {0.0, 1.0}


def test_it_trains_what_it_is_told_to_and_says_how_old_its_experience_is(agent: Agent) -> None:
    phase, before = make_replay(agent, roles=("encoder", "model")), snapshot(agent)
    fresh = phase.run(marked(agent, 1.0), 0.0)
    assert moved(agent, before) == {"encoder", "model"} and fresh["ground/replay_ratio"] == pytest.approx(1.0)
    moved_on(agent)
    assert 0.0 < phase.run(marked(agent, 2.0), 0.0)["ground/replay_ratio"] < 1.0


def test_it_goes_on_from_what_it_has_saved(agent: Agent) -> None:
    phase, other = make_replay(agent), make_replay(agent)
    for mark in (1.0, 2.0, 3.0):
        phase.pieces(marked(agent, mark))
    other.load_state_dict(phase.state_dict())
    drawn = []
    for each in (phase, other):
        torch.manual_seed(7)
        drawn.append(each.pieces(marked(agent, 4.0)))
    assert (drawn[0] == drawn[1]).all()


def test_what_cannot_be_is_refused(agent: Agent) -> None:
    with pytest.raises(ValueError, match=r"planner.ground.gamma=1.5: from 0 to 1"):
        make_replay(agent, gamma=1.5)
    with pytest.raises(ValueError, match=r"planner.ground.capacity=31: at least one batch .* = 32 steps"):
        make_replay(agent, capacity=31)
