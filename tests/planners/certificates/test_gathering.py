"""Evidence measured against brute force, on batches and on whole episodes."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict

from planners.agent import Agent
from planners.certificates.certificate import certify
from planners.certificates.confidence import mean, mean_over_steps
from planners.certificates.evidence import Evidence, Settings
from planners.certificates.gathering import Policies, gather
from planners.certificates.lipschitz import Given
from planners.certificates.walk import walk_through
from planners.neighborhood import measure
from tests.planners.linear_model import LinearModel, experience

SETTINGS = Settings(p=0.05, horizon=4)
LENGTHS, GAMMA = [3, 1, 4], 0.9


def moved_heads(agent: Agent, by: float = 0.3):
    heads = copy.deepcopy(agent.heads)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return heads


def episodes(agent: Agent, cut: bool = True) -> TensorDict:
    """Three whole episodes, ``[1, 8]``; the second may be cut off after its only step."""
    total = sum(LENGTHS)
    batch = experience(agent, envs=1, steps=total)
    ends = torch.zeros(1, total, 1, dtype=torch.bool)
    ends[0, [2, 3, 7]] = True
    terminated = ends.clone()
    terminated[0, 3] = not cut
    batch["next", "done"], batch["next", "terminated"] = ends, terminated
    goes_on = ~ends[0, :-1, 0]
    batch["next", "observation"][0, :-1][goes_on] = batch["observation"][0, 1:][goes_on]
    batch["episode"] = torch.repeat_interleave(torch.arange(3), torch.tensor(LENGTHS))[None]
    batch["step"] = torch.cat([torch.arange(n) for n in LENGTHS])[None]
    return batch


def losses_of(agent: Agent, batch: TensorDict) -> TensorDict:
    model, after = agent.world_model, batch["next"]
    z, z_next = model.encode(batch["observation"]), model.encode(after["observation"])
    reward, terminated = after["reward"].squeeze(-1), after["terminated"].squeeze(-1)
    return model.local_distances(z, batch["action"], reward, z_next, terminated)


def gathered(agent: Agent, batch: TensorDict, by: float | None = 0.05, **changes) -> Evidence:
    """Evidence of an update that moved the heads in a dream, or had none."""
    policies = Policies(batch["logits"], None if by is None else agent.heads, moved_heads(agent, by or 0.05))
    arguments = {"gamma": GAMMA, "C": 1.1, "settings": SETTINGS} | changes
    return gather(agent.world_model, policies, batch, **arguments)


def test_evidence_of_a_batch(agent: Agent) -> None:
    batch, end = experience(agent), moved_heads(agent)
    state = torch.random.get_rng_state()
    e = gathered(agent, batch, by=0.3)
    assert torch.equal(state, torch.random.get_rng_state()), "looking must change nothing"
    losses = losses_of(agent, batch)
    assert e.reward.mean == pytest.approx(losses["reward"].mean().item(), rel=1e-4)
    assert e.transition.largest == pytest.approx(losses["transition"].max().item(), rel=1e-4)
    plain = e.reward.largest * math.sqrt(math.log(20) / 8)  # 4 environments of as many steps
    assert e.reward.radius == pytest.approx(min(plain, e.reward.largest - e.reward.mean), rel=1e-4)
    z = agent.world_model.encode(batch["observation"]).flatten(0, 1)
    found = measure(batch["logits"].flatten(0, 1), end(z).logits, 1.1)
    assert (e.end.D_sup, e.end.D_inf) == pytest.approx((found.d_sup, found.d_inf))
    assert e.start.D_sup == pytest.approx(1.0, abs=1e-5)
    assert (e.samples, e.states, e.episodes) == (4, 32, None) and e.end.episode is e.end.initial is None


def test_each_policy_has_its_own_constants(agent: Agent) -> None:
    batch, end = experience(agent), moved_heads(agent)
    e = gathered(agent, batch, by=0.3)
    after = agent.world_model.encode(batch["next", "observation"])
    z = agent.world_model.encode(batch["observation"])
    for found, heads in ((e.start, agent.heads), (e.end, end)):
        largest = max(float(heads(latent).value.abs().max()) for latent in (z, after))
        assert found.V_max == pytest.approx(largest, rel=1e-5)
    assert e.start.lipschitz.K_V != e.end.lipschitz.K_V
    assert e.start.step.parts["transition"] != e.end.step.parts["transition"]


def test_the_largest_value_counts_where_episodes_end(agent: Agent) -> None:
    """``V_max`` is that at ``phi(s')``: here only the last state of an episode is worth anything."""
    batch = episodes(agent)
    batch["next", "observation"][0, 7] = 100.0
    z_end = agent.world_model.encode(batch["next", "observation"][0, 7])
    e = gathered(agent, batch, by=None)
    assert e.end.V_max == pytest.approx(abs(float(moved_heads(agent, 0.05)(z_end).value)), rel=1e-4)


def test_an_empty_batch_is_refused(agent: Agent) -> None:
    with pytest.raises(ValueError, match="the batch is empty"):
        gathered(agent, experience(agent)[:, :0])


def test_without_a_dream_there_is_no_improvement(agent: Agent) -> None:
    for batch in (experience(agent), episodes(agent)):
        e = gathered(agent, batch, by=None)
        assert e.start is None and e.improvement is None and certify(e)["zeta"] is None


def test_sums_over_whole_episodes(agent: Agent) -> None:
    batch = episodes(agent)
    e = gathered(agent, batch)
    losses, policy = losses_of(agent, batch)[0], e.end
    beyond = float(batch["next", "reward"].abs().max()) / (1 - GAMMA) + policy.V_max
    cut = torch.zeros(8)
    cut[3] = 1.0
    error = losses["reward"] + GAMMA * (
        policy.lipschitz.K_V * losses["transition"] + policy.V_max * losses["termination"] + beyond * cut
    )
    firsts = [0, 3, 4]
    plain = [float(error[f : f + n].sum()) for f, n in zip(firsts, LENGTHS, strict=True)]
    D = policy.D_sup  # noqa: N806
    grown = [
        D * sum((GAMMA * D) ** t * float(error[f + t]) for t in range(n)) for f, n in zip(firsts, LENGTHS, strict=True)
    ]
    for found, expected in ((policy.episode, mean(plain, 0.05)), (policy.initial, mean(grown, 0.05))):
        assert found.upper == pytest.approx(expected.upper, rel=1e-4)
        assert found.radius == pytest.approx(expected.radius, rel=1e-4)
    expected = mean_over_steps(plain, LENGTHS, float(error.max()), 0.05)
    assert policy.step.upper == pytest.approx(expected.upper, rel=1e-4)
    assert policy.step.parts["cut"] == pytest.approx(GAMMA * beyond / 8, rel=1e-4)
    assert (e.samples, e.cuts, e.episodes.length) == (3, 1, pytest.approx(8 / 3))


def test_a_cut_adds_its_tail_and_only_there(agent: Agent) -> None:
    """The episode of one step that is cut off: ``(gamma D)^T B`` is added to what it sums to otherwise."""
    cut, whole = (gathered(agent, episodes(agent, cut=cut)) for cut in (True, False))
    beyond = float(episodes(agent)["next", "reward"].abs().max()) / (1 - GAMMA) + cut.end.V_max
    assert cut.end.initial.parts["cut"] == pytest.approx(GAMMA * cut.end.D_sup * beyond / 3, rel=1e-4)
    assert whole.end.initial.parts["cut"] == 0.0 and whole.cuts == 0


def test_earned_and_dreamt_share_one_horizon(agent: Agent) -> None:
    batch = episodes(agent)
    reward = batch["next", "reward"].flatten()
    with_cut, without = gathered(agent, batch), gathered(agent, episodes(agent, cut=False))
    assert (with_cut.episodes.horizon, without.episodes.horizon) == (1, 4)
    assert with_cut.episodes.earned == pytest.approx(float(reward[[0, 3, 4]].mean()), rel=1e-4)
    short = gathered(agent, episodes(agent, cut=False), settings=replace(SETTINGS, horizon=2)).episodes
    first_two = [reward[0] + GAMMA * reward[1], reward[3], reward[4] + GAMMA * reward[5]]
    assert short.horizon == 2 and short.earned == pytest.approx(float(sum(first_two)) / 3, rel=1e-4)


def test_the_largest_difference_of_returns_is_that_of_returns(agent: Agent) -> None:
    reward = [1.0, -4.0, 2.0, 3.0, 0.5, 0.5, 0.5, -1.0]
    batch = episodes(agent)
    batch["next", "reward"] = torch.tensor(reward).view(1, 8, 1)
    to_go = []
    for first, n in zip((0, 3, 4), LENGTHS, strict=True):
        to_go += [sum(GAMMA**k * reward[first + t + k] for k in range(n - t)) for t in range(n)]
    initial = [to_go[0], to_go[3], to_go[4], 0.0]
    e = gathered(agent, batch)
    assert e.largest == pytest.approx(max(to_go) - min(to_go), rel=1e-5)
    assert e.episodes.largest == pytest.approx(max(initial) - min(initial), rel=1e-5)


def test_returns_of_a_batch_stop_where_an_episode_ends(agent: Agent) -> None:
    batch = experience(agent, envs=1, steps=3)
    batch["next", "reward"] = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1)
    batch["next", "done"] = torch.tensor([False, True, False]).view(1, 3, 1)
    returns = walk_through(agent.world_model, batch, batch["logits"]).to_go(0.5)
    torch.testing.assert_close(returns, torch.tensor([[2.0, 2.0, 4.0]]))


def test_dreams_start_from_every_environment_or_episode(agent: Agent) -> None:
    batch = experience(agent)
    walk = walk_through(agent.world_model, batch, batch["logits"])
    starts = walk.starts(8).view(4, 2, 4)
    rows = agent.world_model.encode(batch["observation"])
    for own, row in zip(starts, rows, strict=True):
        assert (torch.cdist(own, row, p=1.0).min(1).values < 1e-5).all() and not torch.equal(own[0], own[1])
    whole = episodes(agent)
    firsts = walk_through(agent.world_model, whole, whole["logits"]).starts(100)
    torch.testing.assert_close(firsts, agent.world_model.encode(whole["observation"][0, [0, 3, 4]]))


def test_an_infinite_ratio_leaves_no_sum(agent: Agent) -> None:
    batch = episodes(agent)
    batch["logits"][0, 0] = torch.tensor([0.0, -torch.inf, -torch.inf])
    e = gathered(agent, batch)
    assert e.end.D_sup == math.inf and e.end.initial is None
    c = certify(e)
    assert c["value_difference_initial"] is None and "D is finite" in c.bounds["value_difference_initial"].verdict


def test_without_discount_and_with_none(agent: Agent) -> None:
    now = gathered(agent, episodes(agent), gamma=0.0)
    assert certify(now)["value_difference"] == pytest.approx(now.end.D_sup * now.end.step.upper)
    for_ever = certify(gathered(agent, episodes(agent), gamma=1.0))
    assert "what follows a cut is bounded" in for_ever.bounds["value_difference_initial"].verdict
    assert certify(gathered(agent, episodes(agent, cut=False), gamma=1.0))["value_difference_initial"] is not None


def test_a_dream_that_diverges_leaves_the_rest(agent: Agent) -> None:
    with torch.no_grad():
        agent.world_model.mean.weight.fill_(30.0)
    c = certify(gathered(agent, episodes(agent), settings=Settings(0.05, 200)))
    assert c.evidence.improvement is None and c.evidence.episodes.dreamt is None
    assert c.bounds["promised_initial"].verdict == "fails: the dreamt improvement is possible"
    assert "diverges" in next(a.why for a in c.assumptions if a.name.startswith("the dreamt"))
    assert c["zeta_initial"] is not None


def test_numbers_that_are_none_leave_no_number(agent: Agent) -> None:
    with torch.no_grad():
        agent.world_model.reward_net.weight.fill_(torch.nan)
    c = certify(gathered(agent, episodes(agent)))
    assert all(bound.value is None for bound in c.bounds.values())
    assert "what was measured is finite" in c.bounds["value_difference_initial"].verdict


def test_constants_that_are_given_and_by_construction(agent: Agent) -> None:
    measured = gathered(agent, episodes(agent)).end.lipschitz
    given = Given(2 * measured.K_R + 1, measured.K_P + 0.1, 0.0)
    known = gathered(agent, episodes(agent), gamma=0.5, given=given)
    assert known.end.lipschitz.known and known.start.lipschitz.known
    with pytest.raises(ValueError, match="K_R=0.0: two states"):
        gathered(agent, episodes(agent), gamma=0.5, given=Given(0.0, measured.K_P + 0.1, 0.0))

    class Smooth(LinearModel):
        transition_lipschitz, reward_lipschitz = 1.0, None

    torch.manual_seed(0)
    smooth = Agent(Smooth(), hidden=8)
    assert gathered(smooth, episodes(smooth)).by_construction == (None, 1.0)


def test_a_batch_needs_no_episode_numbers(agent: Agent) -> None:
    """A batch as collected has none: the live certificate asks for none."""
    batch = experience(agent)
    assert "episode" not in batch.keys() and gathered(agent, batch).episodes is None


@pytest.mark.parametrize(("p", "horizon"), [(0.0, 4), (0.5, 4), (0.1, 0), (math.nan, 4)])
def test_wrong_settings(p: float, horizon: int) -> None:
    with pytest.raises(ValueError, match=r"planner\.certificate\."):
        Settings(p, horizon)
