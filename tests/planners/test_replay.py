"""Replayed experience: V-trace against its definition, the clip where the present policy is, the buffer's contents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from dreamspi.training import Training
from planners.agent import Agent
from planners.experience import add_advantages, segments
from planners.ground import GroundLoss
from planners.replay import LOG_RATIO, ReplayGround, ReplayLoss, corrected
from planners.utility import Advantage, Unified
from planners.value_scale import Reward
from tests.planners.ground_phase import CLIP, make
from tests.planners.linear_model import experience
from tests.planners.roles import moved, snapshot
from tests.runner.support import configured

GAMMA, LMBDA = 0.9, 0.8


def moved_on(agent: Agent, by: float = 1.0) -> None:
    """The agent's policy and critic are others afterwards."""
    with torch.no_grad():
        for parameter in agent.heads.parameters():
            parameter.add_(by * torch.randn_like(parameter))


def make_replay(agent: Agent, capacity: int = 64, replays: int = 1, roles: tuple[str, ...] = ()) -> ReplayGround:
    roles = roles or ("encoder", "model", "heads")
    found = make(agent, Unified(0.3, 0.7), roles, ReplayGround, capacity=capacity, replays=replays)
    assert isinstance(found, ReplayGround)
    return found


def test_vtrace_by_hand(agent: Agent) -> None:
    """Espeholt et al. (2018), eq. 1 and remark 2, with both thresholds 1; the advantage without the ratio that the
    objective has."""
    batch = experience(agent, envs=6, steps=5, seed=3)
    moved_on(agent, by=0.3)
    found = corrected(agent, batch, GAMMA, LMBDA, segment=5)
    value, after = agent.value(batch), batch["next"]
    with torch.no_grad():
        logits, _ = agent.heads(agent.world_model.encode(batch["observation"]))
    successor = agent.value(after)
    log_prob = torch.distributions.Categorical(logits=logits).log_prob(batch["action"])
    ratio = (log_prob - batch["action_log_prob"]).exp()
    assert after["terminated"].any() and after["truncated"].any() and (ratio > 1).any() and (ratio < 1).any()
    assert ratio.log().abs().max() < LOG_RATIO
    for n in range(6):
        beyond = 0.0  # v - V of the next state, if it is of the same episode and row
        for t in reversed(range(5)):
            goes_on = 0.0 if after["terminated"][n, t] else GAMMA
            beyond = 0.0 if after["done"][n, t] else beyond
            here, weight = float(value[n, t]), min(1.0, float(ratio[n, t]))
            error = float(after["reward"][n, t]) + goes_on * float(successor[n, t]) - here
            advantage = error + GAMMA * LMBDA * beyond
            beyond = weight * error + GAMMA * LMBDA * weight * beyond
            torch.testing.assert_close(found["advantage"][n, t, 0].item(), advantage, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found["value_target"][n, t, 0].item(), here + beyond, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["reference_log_prob"], log_prob)
    torch.testing.assert_close(found["action_log_prob"], batch["action_log_prob"])
    torch.testing.assert_close(found["logits"], logits)
    assert "advantage" not in batch.keys()


def test_what_the_present_policy_gathered_needs_no_correction(agent: Agent) -> None:
    batch = experience(agent, envs=6, steps=5, seed=3)
    found, expected = corrected(agent, batch, GAMMA, LMBDA, 5), add_advantages(batch, agent.value, GAMMA, LMBDA)
    for key in ("advantage", "value_target", "logits", "action_log_prob"):
        torch.testing.assert_close(found[key], expected[key])
    torch.testing.assert_close(found["reference_log_prob"], batch["action_log_prob"])


def test_a_policy_of_long_ago_counts_no_farther_than_the_limit(agent: Agent) -> None:
    """And where it does, the present policy is still amid what it is clipped to: the gradient is that of all steps."""
    batch = experience(agent)
    present = batch["action_log_prob"].clone()
    batch["action_log_prob"][:2] += 9.0
    batch["action_log_prob"][2:] -= 9.0
    found = corrected(agent, batch, GAMMA, LMBDA, 8)
    torch.testing.assert_close(found["reference_log_prob"], present)
    torch.testing.assert_close(found["action_log_prob"][:2], present[:2] + LOG_RATIO)
    torch.testing.assert_close(found["action_log_prob"][2:], present[2:] - LOG_RATIO)
    found["advantage"] = torch.where(torch.arange(8).view(8, 1) % 2 == 0, 1.0, -1.0).expand(4, 8, 1)
    loss = ReplayLoss(agent, Advantage(), CLIP, Reward(), 0.0, 0.0)(found)
    assert float(loss["clip_fraction"]) == 0.0
    logits, _ = agent.heads(agent.world_model.encode(batch["observation"]))
    gathered = torch.distributions.Categorical(logits=logits).log_prob(batch["action"])
    weight = torch.tensor([-LOG_RATIO, -LOG_RATIO, LOG_RATIO, LOG_RATIO]).exp().view(4, 1)
    expected = -(weight * found["advantage"].squeeze(-1) * gathered).mean()
    parameters = [agent.heads.actor.weight, agent.heads.trunk.weight]
    for mine, other in zip(
        torch.autograd.grad(loss["loss_objective"], parameters, retain_graph=True),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_the_clip_is_where_the_present_policy_is(agent: Agent) -> None:
    """``min(r U, clip(r, [2 - C, C] pi_old / pi_hist) U)``, ``r = pi / pi_hist``."""
    batch = corrected(agent, experience(agent), GAMMA, LMBDA, 8)
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
    torch.testing.assert_close(found["clip_fraction"], ((step < 0.9) | (step > 1.1)).float().mean())
    assert 0 < float(found["clip_fraction"]) < 1


def test_on_fresh_experience_it_is_the_loss_of_every_ground_phase(agent: Agent) -> None:
    batch = corrected(agent, experience(agent), GAMMA, LMBDA, 8)
    settings = (agent, Unified(0.3, 0.7), CLIP, Reward(), 0.5, 0.01)
    replayed, fresh = ReplayLoss(*settings)(batch), GroundLoss(*settings)(batch)
    for key, value in fresh.items():
        torch.testing.assert_close(replayed[key], value)


def marked(agent: Agent, mark: int) -> TensorDict:
    batch = experience(agent, seed=mark)
    batch["next", "reward"].fill_(float(mark))
    return add_advantages(batch, agent.value, GAMMA, LMBDA)


def test_it_learns_from_the_fresh_batch_and_from_the_newest_beside_it(agent: Agent) -> None:
    torch.manual_seed(0)
    phase, drawn = make_replay(agent, capacity=2 * 32 + 5, replays=2), set()
    kept = []
    phase.loss.in_keys.append(("next", "reward"))
    for mark in range(1, 41):
        fresh = marked(agent, mark)
        pieces, _ = phase.pieces(fresh)
        assert pieces.shape == (3 * 8, 4)
        expected = segments(fresh, 4)
        for key in ("observation", "action", "action_log_prob", "advantage", "value_target"):
            assert torch.equal(pieces[:8][key], expected[key])
        assert torch.equal(pieces[:8]["reference_log_prob"], expected["action_log_prob"])
        assert not torch.equal(pieces[8:]["reference_log_prob"], pieces[8:]["action_log_prob"]) or mark == 1
        moved_on(agent, by=0.1)
        drawn |= {mark - found.item() for found in pieces[8:]["next", "reward"].unique()}
        kept.append(len(phase.buffer))
    assert drawn == {0.0, 1.0} and kept == [4] + 39 * [8]


def test_it_trains_what_it_is_told_to_and_says_how_old_its_experience_is(agent: Agent) -> None:
    phase, before = make_replay(agent, roles=("encoder", "model")), snapshot(agent)
    fresh = phase.run(marked(agent, 1), 0.0)
    assert moved(agent, before) == {"encoder", "model"} and fresh["ground/replay_ratio"] == pytest.approx(1.0)
    moved_on(agent)
    assert 0.0 < phase.run(marked(agent, 2), 0.0)["ground/replay_ratio"] < 1.0


def test_a_recurrent_policy_begins_where_it_is_clipped_to(tmp_path: Path) -> None:
    """Though its memories are those of another network, and a row has several segments."""
    words = ["planner=deepspi_replay", "world_model=rssm", "num_steps=8", "env.max_steps=9"]
    training = Training(configured(tmp_path / "run", *words, "planner.ground.optimizers.policy.lr=0.03"))
    training.start()
    for _ in range(3):
        training.iterate()
    agent, batch = training.planner.agent, training.collection.next()
    pieces, told = training.planner.ground.pieces(add_advantages(batch, agent.value, GAMMA, LMBDA))
    logits, _ = agent.heads(agent.world_model.latents(pieces))
    log_prob = logits.gather(-1, pieces["action"].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(log_prob, pieces["reference_log_prob"])
    assert told["replay_ratio"] < 1.0 and not torch.equal(pieces["action_log_prob"], pieces["reference_log_prob"])
    training.close()


@pytest.mark.parametrize("planner", ["ppo", "dreamspi"])
def test_any_planner_may_replay(planner: str, tmp_path: Path) -> None:
    """With what it rehearses and clones."""
    words = [f"planner={planner}", "planner.ground._target_=planners.replay.ReplayGround"]
    words += ["+planner.ground.capacity=64", "+planner.ground.replays=1", "log_every=1"]
    training = Training(configured(tmp_path / "run", *words))
    training.start()
    told = [training.iterate() for _ in range(3)]
    training.close()
    assert told[0]["ground/replay_ratio"] == pytest.approx(1.0) and told[2]["ground/replay_ratio"] < 1.0


@pytest.mark.parametrize(("key", "value"), [("capacity", 31), ("replays", 0)])
def test_what_cannot_be_is_refused(agent: Agent, key: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"planner.ground.{key}={value}: at least "):
        make_replay(agent, **{key: value})
