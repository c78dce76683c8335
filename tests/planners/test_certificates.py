"""Certificates: numbers by hand, assumptions that fail, and evidence measured against brute force."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict

from planners.agent import Agent
from planners.certificates import BOUNDS, Estimate, Evidence, FromStart, Lipschitz, certify
from planners.evidence import (
    Policies,
    Settings,
    dream_improvement,
    estimate_lipschitz,
    gather,
    gather_from_start,
    imagined_return,
    under_policy,
)
from planners.neighborhood import measure
from tests.planners.linear_model import LinearModel, experience
from tests.planners.test_planner import started

EVIDENCE = Evidence(
    gamma=0.9,
    C=1.1,
    D_sup=1.05,
    D_inf=0.95,
    D_start=1.02,
    reward=Estimate(0.1, 0.02, 1.0),
    transition=Estimate(0.2, 0.01, 2.0),
    termination=Estimate(0.0, 0.0, 1.0),
    lipschitz=Lipschitz(0.5, 0.6, 1.5),
    V_max=10.0,
    bellman=0.3,
    reward_range=(-1.0, 2.0),
    dream_improvement=0.4,
    samples=128,
    p=0.05,
    length=8.0,
)
ERROR = (0.12) + 0.9 * 1.5 * 0.21


def holds(certificate, name: str) -> bool | None:
    return next(a.holds for a in certificate.assumptions if a.name.startswith(name))


def test_bounds_by_hand() -> None:
    c = certify(EVIDENCE)
    assert c.behavior_difference == pytest.approx(ERROR / 0.1)
    assert c.value_difference == pytest.approx(ERROR / (1 / 1.05 - 0.9))
    assert c.value_difference_by_length == pytest.approx(8 * c.value_difference)
    assert c.zeta == pytest.approx(c.value_difference + ERROR / (1 / 1.02 - 0.9))
    assert c.promised == pytest.approx(0.4 - c.zeta)
    assert c.representation == pytest.approx(2 / 0.05 * c.value_difference)
    assert c.largest == pytest.approx(30.0)
    assert c.terms["sampling"] == pytest.approx((0.02 + 0.9 * 1.5 * 0.01) / ERROR)
    assert sum(c.terms.values()) == pytest.approx(1.0) and c.dominating == "transition"
    assert not c.is_vacuous(c.value_difference) and c.is_vacuous(c.representation) and c.is_vacuous(None)
    assert [holds(c, n) for n in ("D <", "C <", "equal", "gamma", "K_P")] == [True, True, True, True, True]
    assert holds(c, "the latent value") is None, "an estimate is not a proof"


def test_a_ratio_too_large_leaves_no_number() -> None:
    c = certify(replace(EVIDENCE, D_sup=1.2))
    assert c.value_difference is c.value_difference_by_length is c.zeta is c.promised is c.representation is None
    assert holds(c, "D <") is False
    assert c.behavior_difference == pytest.approx(ERROR / 0.1), "the behavior policy's own bound needs no such thing"
    assert not {"value_difference", "zeta", "promised"} & set(c.metrics())


def test_the_measured_ratio_counts_and_not_the_constant() -> None:
    c = certify(replace(EVIDENCE, gamma=0.99, D_sup=1.005, D_start=1.0))
    assert holds(c, "C <") is False and holds(c, "D <") is True and c.value_difference is not None
    assert "C < 1.0101" in next(a.why for a in c.assumptions if a.name.startswith("C <"))


def test_other_assumptions_are_seen() -> None:
    c = certify(replace(EVIDENCE, D_inf=0.0, gamma=0.4, lipschitz=Lipschitz(1.0, 3.0, 2.0)))
    assert [holds(c, n) for n in ("equal", "gamma", "K_P")] == [False, False, False]
    assert holds(certify(replace(EVIDENCE, dream_improvement=None)), "encoder and model fixed") is False


def test_known_constants() -> None:
    known = Lipschitz.given(1.0, 0.5, 0.9)
    assert known.known and abs(known.K_V - 1 / 0.55) < 1e-9
    assert holds(certify(replace(EVIDENCE, lipschitz=known)), "the latent value") is True
    with pytest.raises(ValueError, match=r"K_P=1\.2.*K_P < 1/gamma = 1\.111"):
        Lipschitz.given(1.0, 1.2, 0.9)
    with pytest.raises(ValueError, match="at least 0"):
        Lipschitz.given(-1.0, 0.2, 0.9)


def test_whole_episodes() -> None:
    start = FromStart(Estimate(3.0, 0.5, 5.0), Estimate(2.0, 0.25, 4.0), 8.0, 7.5, 0.7, 50, 0.1)
    c = certify(replace(EVIDENCE, from_start=start))
    assert c.value_difference_start == pytest.approx(3.5) and c.zeta_start == pytest.approx(5.75)
    assert c.promised_start == pytest.approx(0.7 - 5.75)
    assert holds(c, "episodes end") is False


def test_json_has_everything() -> None:
    found = json.loads(json.dumps(certify(EVIDENCE).to_dict()))
    assert set(BOUNDS) <= set(found) and set(found["vacuous"]) == set(BOUNDS)
    assert found["evidence"]["reward"] == {"mean": 0.1, "radius": 0.02, "largest": 1.0}
    assert found["largest_C"] == pytest.approx(1 / 0.9) and found["largest_gamma"] == pytest.approx(1 / 1.1)


# ---------------------------------------------------------------------- evidence


def moved_heads(agent: Agent, by: float = 0.3):
    heads = copy.deepcopy(agent.heads)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return heads


def test_evidence_of_a_batch(agent: Agent) -> None:
    batch, end = experience(agent), moved_heads(agent)
    policies = Policies(batch["logits"], agent.heads, end)
    state = torch.random.get_rng_state()
    e = gather(agent.world_model, policies, batch, 0.9, 1.1, 0.05, 16)
    assert torch.equal(state, torch.random.get_rng_state()), "looking must change nothing"
    model, after = agent.world_model, batch["next"]
    z, z_next = model.encode(batch["observation"]), model.encode(after["observation"])
    losses = model.local_distances(
        z, batch["action"], after["reward"].squeeze(-1), z_next, after["terminated"].squeeze(-1)
    )
    assert e.reward.mean == pytest.approx(losses["reward"].mean().item(), rel=1e-4)
    assert e.transition.largest == pytest.approx(losses["transition"].max().item(), rel=1e-4)
    assert e.reward.radius == pytest.approx(e.reward.largest * math.sqrt(math.log(20) / 8), rel=1e-4)  # 4 environments
    found = measure(batch["logits"].flatten(0, 1), end(z.flatten(0, 1)).logits, 1.1)
    assert (e.D_sup, e.D_inf) == pytest.approx((found.d_sup, found.d_inf))
    assert e.D_start == pytest.approx(1.0, abs=1e-5)
    assert e.length == pytest.approx(32 / int(after["done"].sum()))
    assert e.reward_range[0] <= 0 <= e.reward_range[1]


def test_an_empty_batch_is_refused(agent: Agent) -> None:
    batch = experience(agent)[:, :0]
    with pytest.raises(ValueError, match="the batch is empty"):
        gather(agent.world_model, Policies(batch["logits"], agent.heads, agent.heads), batch, 0.9, 1.1, 0.05, 4)


def test_without_a_dream_there_is_no_improvement(agent: Agent) -> None:
    batch = experience(agent)
    e = gather(agent.world_model, Policies(batch["logits"], agent.heads, agent.heads), batch, 0.9, 1.1, 0.05, 4)
    assert e.dream_improvement is None and certify(e).zeta is None


def test_lipschitz_constants_are_never_above_the_truth() -> None:
    """For one action everything is linear: the model's constants are operator norms, in L1."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(num_actions=1), hidden=8)
    latent = torch.randn(200, 4)
    action, following = torch.zeros(200, dtype=torch.long), torch.randn(200, 4)
    k = estimate_lipschitz(agent.world_model, agent.heads, latent, action, following)
    weight = agent.world_model.mean.weight[:, :4]
    assert 0.5 * float(weight.abs().sum(0).max()) < k.K_P <= float(weight.abs().sum(0).max()) + 1e-5
    truth = float(agent.world_model.reward_net.weight[0, :4].abs().max())
    assert 0.5 * truth < k.K_R <= truth + 1e-5
    probe = latent.clone().requires_grad_()
    slope = torch.autograd.grad(agent.heads(probe).value.sum(), probe)[0].abs().max()
    assert 0.0 < k.K_V <= 1.5 * float(slope)


def test_merged_states_have_no_constants(agent: Agent) -> None:
    merged = torch.ones(50, 4)
    action = torch.zeros(50, dtype=torch.long)
    assert estimate_lipschitz(agent.world_model, agent.heads, merged, action, merged) == Lipschitz(0.0, 0.0, 0.0)


class EndsAbove(LinearModel):
    """Episodes end where the first latent number is positive."""

    def termination(self, latent: torch.Tensor, action: torch.Tensor, next_latent: torch.Tensor) -> torch.Tensor:
        return (next_latent[..., 0] > 0).float()


def test_a_constant_value_that_ends_somewhere_is_not_flat() -> None:
    """V̄ = 10 everywhere has K_V = 0, but what follows a step falls from 10 to 0 where an episode ends."""
    torch.manual_seed(0)
    agent = Agent(EndsAbove(), hidden=8)
    with torch.no_grad():
        agent.heads.critic.weight.zero_()
        agent.heads.critic.bias.fill_(10.0)
    latent, action = torch.randn(60, 4), torch.zeros(60, dtype=torch.long)
    k = estimate_lipschitz(agent.world_model, agent.heads, latent, action, latent)
    ends = latent[:, 0] > 0
    nearest = torch.cdist(latent[ends], latent[~ends], p=1.0).min()
    assert abs(k.K_V * float(nearest) - 10.0) < 1e-2


def test_expectation_under_the_policy(agent: Agent) -> None:
    latent = torch.randn(7, 4)
    reward, following = under_policy(agent.world_model, agent.heads, latent)
    p = agent.heads(latent).logits.exp()
    for m in range(7):
        actions = torch.arange(3)
        z = latent[m].expand(3, -1)
        assert float(reward[m]) == pytest.approx(float((p[m] * agent.world_model.reward(z, actions)).sum()), rel=1e-4)
        mean = (p[m, :, None] * agent.world_model.transition(z, actions).mean).sum(0)
        torch.testing.assert_close(following[m], mean)


def test_imagined_returns_of_a_constant_world() -> None:
    """Reward r at each step, an end with probability q: r (1 - (g (1 - q))^H) / (1 - g (1 - q))."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.2), hidden=8)
    with torch.no_grad():
        agent.world_model.reward_net.weight.zero_()
        agent.world_model.reward_net.bias.fill_(2.0)
    found = imagined_return(agent.world_model, agent.heads, torch.randn(5, 4), 0.9, 20)
    rate = 0.9 * 0.8
    torch.testing.assert_close(found, torch.full((5,), 2.0 * (1 - rate**20) / (1 - rate)))


def test_the_improvement_of_the_same_policy_is_zero(agent: Agent) -> None:
    twin = copy.deepcopy(agent.heads)
    policies = Policies(torch.zeros(1), agent.heads, twin)
    assert dream_improvement(agent.world_model, policies, torch.randn(300, 4), 0.9, 10) == 0.0


def test_sums_over_whole_episodes(agent: Agent) -> None:
    torch.manual_seed(0)
    lengths, gamma = [3, 1, 4], 0.9
    total = sum(lengths)
    batch = experience(agent, envs=1, steps=total)[0]
    ends = torch.zeros(total, 1, dtype=torch.bool)
    ends[[2, 3, 7]] = True
    batch["next", "done"], batch["next", "terminated"] = ends, ends & (torch.arange(total) != 3).unsqueeze(-1)
    goes_on = ~ends[:-1, 0]
    batch["next", "observation"][:-1][goes_on] = batch["observation"][1:][goes_on]
    batch["episode"] = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    batch["step"] = torch.cat([torch.arange(n) for n in lengths])
    policies = Policies(batch["logits"].unsqueeze(0), agent.heads, moved_heads(agent, 0.05))
    e = gather(agent.world_model, policies, batch.unsqueeze(0), gamma, 1.1, 0.05, 4, units=3)
    start = gather_from_start(agent.world_model, policies, batch, e, 4)
    reward = batch["next", "reward"].squeeze(-1)
    real = [sum(gamma**t * float(reward[f + t]) for t in range(n)) for f, n in zip((0, 3, 4), lengths, strict=True)]
    assert start.real == pytest.approx(sum(real) / 3, rel=1e-4)
    assert (start.episodes, start.cut) == (3, pytest.approx(1 / 3))
    model, after = agent.world_model, batch["next"]
    z, z_next = model.encode(batch["observation"]), model.encode(after["observation"])
    losses = model.local_distances(z, batch["action"], reward, z_next, after["terminated"].squeeze(-1))
    error = losses["reward"] + gamma * (e.lipschitz.K_V * losses["transition"] + e.V_max * losses["termination"])
    sums = [
        e.D_sup * sum((gamma * e.D_sup) ** t * float(error[f + t]) for t in range(n))
        for f, n in zip((0, 3, 4), lengths, strict=True)
    ]
    assert start.bound.mean == pytest.approx(sum(sums) / 3, rel=1e-4)
    assert start.bound.largest == pytest.approx(max(sums), rel=1e-4)


@pytest.mark.parametrize(("p", "horizon"), [(0.0, 4), (0.5, 4), (0.1, 0)])
def test_wrong_settings(p: float, horizon: int) -> None:
    with pytest.raises(ValueError, match=r"planner\.certificate\."):
        Settings(p, horizon)


@pytest.mark.parametrize("planner", ["ppo", "deepmdp", "deepspi", "dreamspi", "hybrid"])
def test_live_certificates_change_nothing(planner: str) -> None:
    """Every planner that learns a model has one, and a run with them ends where a run without them ends."""
    ends, keys = [], set()
    for certifies in (True, False):
        training = started(f"planner={planner}")
        for _ in range(3):
            batch = training.collection.next()
            metrics = training.planner.improve(batch, 0.0, certify=certifies)
            keys |= {key for key in metrics if key.startswith("certificate/")}
        ends.append(copy.deepcopy(training.planner.agent.state_dict()))
        training.close()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert bool(keys) == (planner != "ppo")
    assert ("certificate/dream_improvement" in keys) == (planner in ("dreamspi", "hybrid"))


def test_tensordict_of_an_episode_is_not_needed_live(agent: Agent) -> None:
    """A batch as collected has no episode numbers: the live certificate asks for none."""
    batch = experience(agent)
    assert isinstance(batch, TensorDict) and "episode" not in batch.keys()
    assert (
        gather(
            agent.world_model, Policies(batch["logits"], agent.heads, agent.heads), batch, 0.9, 1.1, 0.05, 4
        ).from_start
        is None
    )
