"""The dream: what it starts from, where it ends, what bounds it, and that it moves the heads alone."""

from __future__ import annotations

import copy
from unittest.mock import Mock

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torch.distributions import Categorical

from planners.agent import Agent
from planners.dream import Behavior, DreamLoss
from planners.guards import build_neighborhood
from planners.heads import log_prob_of
from planners.imagination import imagine, summary
from planners.optimization import Adam
from planners.value_scale import ReturnDeviation, Reward
from tests.planners.dream_phase import Doubtful, lived, make, run, starts
from tests.planners.ground_phase import CLIP
from tests.planners.linear_model import LinearModel
from tests.planners.roles import moved, snapshot


def test_a_dream_moves_the_heads_and_nothing_else(agent: Agent) -> None:
    before = snapshot(agent)
    run(make(agent), agent)
    assert moved(agent, before) == {"heads"}


def test_a_terminated_dream_is_absorbing() -> None:
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.4), hidden=8)
    dream = imagine(agent.world_model, agent.heads, starts(agent, 200), 6)
    after = dream["next"]
    ended, alive = after["terminated"].squeeze(-1), dream["alive"]
    alive = alive.bool()
    assert alive[:, 0].all() and not alive.all()
    torch.testing.assert_close(alive[:, 1:], ~ended[:, :-1])
    assert (after["reward"].squeeze(-1)[~alive] == 0).all()
    assert torch.equal(after["done"], after["terminated"] | after["truncated"])
    assert not (after["terminated"] & after["truncated"]).any()
    assert torch.equal(after["truncated"][:, -1], ~after["terminated"][:, -1])
    assert not after["truncated"][:, :-1].any()


def test_pessimism_pays_for_uncertainty_by_hand() -> None:
    """With lambda = 1 the advantage falls by the discounted sum of what was doubted."""
    torch.manual_seed(0)
    agent = Agent(Doubtful(), hidden=8)
    start = starts(agent, 20)
    advantages = []
    for pessimism in (0.0, 2.0):
        torch.manual_seed(3)
        dream = make(agent, pessimism=pessimism)
        dream.lmbda = 1.0
        advantages.append(dream.dream(start, agent.heads))
    doubted = advantages[0]["next", "uncertainty"].squeeze(-1)
    torch.testing.assert_close(doubted, advantages[0]["latent"][..., 0].abs())
    expected = sum(2.0 * 0.9**t * doubted[:, t] for t in range(4))
    fall = (advantages[0]["advantage"] - advantages[1]["advantage"])[:, 0, 0]
    torch.testing.assert_close(fall, expected, rtol=1e-4, atol=1e-4)
    assert run(make(agent), agent)["dream/uncertainty"] > 0
    with pytest.raises(ValueError, match=r"planner\.dream\.pessimism=-1"):
        make(agent, pessimism=-1)


def test_what_comes_after_the_end_changes_no_loss() -> None:
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.4), hidden=8)
    dream = make(agent).dream(starts(agent), copy.deepcopy(agent.heads))
    dead = dream["alive"] == 0
    assert dead.any()
    spoilt = dream.clone()
    for key in ("advantage", "value_target", "latent"):
        spoilt[key][dead] = 1e3
    loss = DreamLoss(agent.heads, CLIP, Reward(), 0.5, 0.01)
    for key in ("loss_objective", "loss_value", "loss_entropy"):
        torch.testing.assert_close(loss(dream)[key], loss(spoilt)[key])


def test_advantages_of_a_dream_by_hand() -> None:
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.3), hidden=8)
    dream = make(agent).dream(starts(agent), copy.deepcopy(agent.heads))
    after, alive = dream["next"], dream["alive"]
    for m in range(32):
        running = 0.0
        for h in reversed(range(4)):
            if not alive[m, h]:
                continue
            over = bool(after["terminated"][m, h])
            bootstrap = 0.0 if over else 0.9 * float(after["state_value"][m, h])
            delta = float(after["reward"][m, h]) + bootstrap - float(dream["state_value"][m, h])
            running = delta + (0.0 if over or h == 3 else 0.9 * 0.95 * running)
            assert float(dream["advantage"][m, h]) == pytest.approx(running, rel=1e-4, abs=1e-5)


def test_expected_ends_are_the_mean_of_sampled_ones() -> None:
    """Weights and returns agree in expectation; without the draw, equal dreams have equal weights."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.3), hidden=8)
    start = starts(agent, 1).expand(4000, -1)
    returns, spreads = {}, {}
    for ends in ("sampled", "expected"):
        dream = imagine(agent.world_model, agent.heads, start, 4, ends)
        torch.testing.assert_close(dream["alive"].mean(0), 0.7 ** torch.arange(4.0), atol=0.03, rtol=0)
        gained = (dream["next", "reward"].squeeze(-1) * dream["alive"]).sum(1)
        returns[ends], spreads[ends] = float(gained.mean()), float(dream["alive"].std(0).max())
    assert returns["expected"] == pytest.approx(returns["sampled"], abs=0.05)
    assert spreads["expected"] < 1e-6 < spreads["sampled"]


def test_advantages_with_expected_ends_by_hand() -> None:
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.3), hidden=8)
    dream = make(agent, ends="expected").dream(starts(agent), copy.deepcopy(agent.heads))
    after = dream["next"]
    running = torch.zeros(32)
    for h in reversed(range(4)):
        value, following = dream["state_value"][:, h, 0], after["state_value"][:, h, 0]
        delta = after["reward"][:, h, 0] + 0.9 * 0.7 * following - value
        running = delta + (0.0 if h == 3 else 0.9 * 0.7 * 0.95) * running
        torch.testing.assert_close(dream["advantage"][:, h, 0], running, rtol=1e-4, atol=1e-5)


def test_what_a_dream_looked_like_by_hand() -> None:
    """Two dreams: the first is likely to end early, the second surely at its last step."""
    alive = torch.tensor([[1.0, 0.5, 0.25], [1.0, 1.0, 1.0]])
    after = {
        "reward": torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]]).unsqueeze(-1),
        "termination": torch.tensor([[0.5, 0.5, 0.2], [0.0, 0.0, 1.0]]).unsqueeze(-1),
        "uncertainty": torch.tensor([[1.0, 1.0, 2.0], [0.0, 0.0, 3.0]]).unsqueeze(-1),
    }
    assert summary(TensorDict({"alive": alive, "next": after}, (2, 3))) == pytest.approx(
        {
            "dream/reward": (3.0 + 4.0) / 2,
            "dream/terminated": (1.0 - 0.25 * 0.8 + 1.0) / 2,
            "dream/length": (1.75 + 3.0) / 2,
            "dream/uncertainty": (2.0 + 3.0) / 4.75,
        }
    )


def test_starts_that_are_dreamt_in_pieces_are_all_there_in_order(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planners.dream.CHUNK", 10)  # two starts of four numbers at a time
    dream, start = make(agent), starts(agent, 31)
    dream.imagine = walk = Mock(wraps=imagine)
    assert torch.equal(dream.dream(start, None)["latent"][:, 0], start)
    assert walk.call_count == 16


def test_the_losses_by_hand() -> None:
    """Advantages of any mean and spread, steps that are reached by chance, and errors in deviations of 2."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.3), hidden=8)
    torch.nn.init.normal_(agent.heads.actor.weight)  # a policy that tells latents apart
    dream = make(agent, ends="expected").dream(starts(agent), None).reshape(-1)
    dream["advantage"] = 5.0 + 3.0 * torch.randn(len(dream), 1)
    logits, value = agent.heads(dream["latent"])
    policy = Categorical(logits=logits)
    pi = policy.log_prob(dream["action"]).detach()
    dream["action_log_prob"] = pi - 0.2 * torch.randn(len(dream))
    dream["reference_log_prob"] = pi - 0.2 * torch.randn(len(dream))
    scale = ReturnDeviation()
    scale.update(torch.tensor([1.0, 5.0]))
    found = DreamLoss(agent.heads, CLIP, scale, 0.5, 0.01)(dream)

    def mean(numbers: Tensor) -> Tensor:
        return (dream["alive"] * numbers).sum() / dream["alive"].sum()

    advantage = dream["advantage"].squeeze(-1)
    utility = (advantage - mean(advantage)) / mean((advantage - mean(advantage)).square()).sqrt()
    ratio, to_reference = ((pi - dream[key]).exp() for key in ("action_log_prob", "reference_log_prob"))
    clipped = to_reference.clamp(0.9, 1.1) * ratio / to_reference
    error = (value - dream["value_target"].squeeze(-1)).square()
    torch.testing.assert_close(
        dict(found.items()),
        {
            "loss_objective": -mean(torch.minimum(ratio * utility, clipped * utility)),
            "loss_value": 0.5 * mean(error) / 4.0,
            "loss_entropy": -0.01 * mean(policy.entropy()),
            "entropy": mean(policy.entropy()).detach(),
        },
    )


def test_the_interval_is_that_of_the_reference_policy(agent: Agent) -> None:
    """Against the reference the clip acts at [2 - C, C], whoever dreamt."""
    dream = make(agent).dream(starts(agent), copy.deepcopy(agent.heads)).reshape(-1)
    pi = log_prob_of(agent.heads(dream["latent"]).logits, dream["action"]).detach()
    dream["reference_log_prob"] = pi - 0.3  # the policy already is at a ratio of exp(0.3) = 1.35 to the reference
    dream["advantage"] = torch.where(torch.arange(len(dream)) % 2 == 0, 1.0, -1.0).unsqueeze(-1)
    objective = DreamLoss(agent.heads, CLIP, Reward(), 0.0, 0.0)(dream)["loss_objective"]
    gradient = torch.autograd.grad(objective, agent.heads.actor.weight)[0]
    only_bad = dream.clone()
    only_bad["advantage"] = dream["advantage"].clamp_max(0.0)
    # samples of positive advantage sit above C and must not push further: they carry no gradient
    logits = agent.heads(dream["latent"]).logits
    ratio = (log_prob_of(logits, dream["action"]) - dream["action_log_prob"]).exp()
    bad = (ratio * only_bad["advantage"].squeeze(-1)).mean()
    expected = torch.autograd.grad(-bad, agent.heads.actor.weight)[0]
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"bound": "nobody"}, "Allowed: behavior, dreamer"),
        ({"horizon": 0}, "horizon=0"),
        ({"pessimism": 0.5}, "pessimism=0.5: this world model does not tell how uncertain it is"),
        ({"real_value": -1.0}, "real_value=-1.0: at least 0"),
        ({"value": -1.0}, r"planner\.dream\.value=-1.0: at least 0"),
        ({"entropy": -0.1}, r"planner\.dream\.entropy=-0.1: at least 0"),
        ({"ends": "never"}, "Allowed: expected, sampled"),
        ({"minibatches": 5}, "minibatches=5 does not divide"),
        ({"optimizers": {"x": Adam(roles=("encoder",), lr=1e-3)}}, "heads only"),
    ],
)
def test_wrong_settings(agent: Agent, keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(agent, **keys)


def test_the_loss_tells_what_it_reads_and_returns(agent: Agent) -> None:
    loss = DreamLoss(agent.heads, CLIP, Reward(), 0.5, 0.01)
    dream = make(agent).dream(starts(agent), copy.deepcopy(agent.heads))
    assert set(loss(dream.select(*loss.in_keys)).keys()) == set(loss.out_keys)


def test_real_returns_correct_a_critic_that_dreams_mislead(agent: Agent) -> None:
    """In the dream next to nothing pays; in truth every state is worth 5."""
    errors = []
    for weight in (0.0, 5.0):
        twin = copy.deepcopy(agent)
        metrics = run(make(twin, real_value=weight, epochs=20), twin, target=5.0)
        assert ("dream/loss_real_value" in metrics) == bool(weight)
        errors.append((twin.heads(starts(twin)).value - 5.0).abs().mean().item())
    assert errors[1] < 0.5 < 2.0 < errors[0]


def test_heads_that_have_not_moved_are_not_asked_twice(agent: Agent) -> None:
    """The policy that gathered the batch is then the one that dreams first, and no longer in the second dream."""
    start, twin, asked_times = starts(agent), copy.deepcopy(agent), []
    for dreamer, moved_since in ((agent, True), (twin, False)):
        behavior = Behavior(copy.deepcopy(dreamer.heads), dreamer.heads(start).logits.detach(), moved_since)
        behavior.heads.register_forward_hook(lambda *_, since=moved_since: asked_times.append(since))
        torch.manual_seed(0)
        make(dreamer, repeats=2).run(start, lived(), behavior, 0.0)
    assert asked_times == [True, True, False]
    for asked, skipped in zip(agent.heads.parameters(), twin.heads.parameters(), strict=True):
        torch.testing.assert_close(skipped, asked)


def test_only_dreams_that_were_dreamt_are_counted(agent: Agent) -> None:
    """A guard that ends the phase in the first dream leaves the others undreamt."""
    assert run(make(agent), agent)["dream/steps"] == 2 * 32 * 4
    stops = make(agent, optimizers={"heads": Adam(roles=("heads",), lr=10.0)})
    stops.neighborhood = build_neighborhood("stop", 1.01, 1.0)
    found = run(stops, agent)
    assert found["dream/updates"] < 4
    assert found["dream/steps"] == 32 * 4
