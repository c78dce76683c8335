"""How far a dream is believed: the slope against one that is known, and what a wrong dream may still do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from planners.agent import Agent
from planners.dream import Behavior
from planners.trust import DECAY, Calibrated, Full, Trust
from tests.planners.dream_phase import Doubtful, lived, make, starts
from tests.planners.linear_model import LinearModel
from world_models.contract import ImaginedStep
from world_models.distributions import Point

COUNT = 200_000
BEHAVIOR = torch.tensor([0.5, 0.3, 0.2])


def pulls(slope: float) -> tuple[Tensor, Tensor, Tensor]:
    """Real advantages ``[COUNT]`` of what was done, mostly noise, and what a dream says, twice, of the difference to
    other actions: the real one divided by ``slope``, and chance."""
    torch.manual_seed(0)
    worth = torch.randn(COUNT, 3)
    centered = worth - (BEHAVIOR * worth).sum(-1, keepdim=True)
    action, other = torch.multinomial(BEHAVIOR, 2 * COUNT, replacement=True).view(2, COUNT, 1)
    difference = (worth.gather(-1, action) - worth.gather(-1, other)).squeeze(-1) / slope
    first, second = (difference + 2.0 * torch.randn(COUNT) for _ in range(2))
    return centered.gather(-1, action).squeeze(-1) + 3.0 * torch.randn(COUNT), first, second


@pytest.mark.parametrize(("slope", "share"), [(0.25, 0.25), (1.0, 1.0), (2.0, 1.0), (-1.0, 0.0)])
def test_the_slope_is_that_of_the_differences_between_actions(slope: float, share: float) -> None:
    trust = Calibrated()
    for _ in range(60):  # until the first batch, which is believed, is forgotten
        trust.update(*pulls(slope))
    assert trust.slope == pytest.approx(slope, rel=0.05)
    assert trust.share == pytest.approx(share, abs=0.03)


def test_batches_are_weighed_by_what_they_tell() -> None:
    """Moments are averaged, not slopes, from a slope of 1 on: a batch whose dreams see no difference says nothing."""
    trust = Calibrated()
    advantage, first, second = pulls(0.5)
    trust.update(advantage, first, second)
    said, meant = float((first.square() + second.square()).mean()) / 4.0, float((first * second).mean()) / 2.0
    moments = [DECAY * said + (1.0 - DECAY) * share * meant for share in (0.5, 1.0)]
    assert trust.slope == pytest.approx(moments[0] / moments[1], abs=0.01)
    before = trust.slope
    nothing = torch.zeros(COUNT)
    trust.update(torch.randn(COUNT), nothing, nothing)
    assert trust.slope == pytest.approx(before)


@pytest.mark.parametrize("kind", [Full, Calibrated])
def test_what_is_not_known_yet_is_believed(kind: type[Trust]) -> None:
    trust = kind()
    assert trust.slope == trust.share == 1.0
    other = kind()
    for _ in range(20):
        other.update(*pulls(-1.0))
    assert other.share == (1.0 if kind is Full else 0.0)
    trust.load_state_dict(copy.deepcopy(other.state_dict()))
    assert (trust.slope, trust.share) == (other.slope, other.share)
    trust.load_state_dict({"covariance": 1.0, "variance": 2.0})  # of a checkpoint from before batches were counted
    assert trust.slope == 0.5


class Paying(LinearModel):
    """Promises a reward of 1 for action 1, and nothing else."""

    def imagine(self, latent: Tensor, action: Tensor) -> ImaginedStep:
        step = super().imagine(latent, action)
        return step._replace(reward=(action == 1).float(), next_latent=0.0 * step.next_latent)


@pytest.mark.parametrize("truth", [1.0, -1.0])
def test_a_dream_that_experience_speaks_against_asks_nothing_of_the_policy(truth: float) -> None:
    """In truth action 1 pays ``truth``. The critic learns all the same, and with it a layer that both share."""
    torch.manual_seed(0)
    agent = Agent(Paying(), hidden=8)
    start = starts(agent)
    before = copy.deepcopy(agent.heads)
    batch = lived(target=1.0)
    batch["action"] = torch.arange(32).reshape(4, 8) % 2
    batch["advantage"] = truth * (batch["action"].float() - 0.5).unsqueeze(-1)
    trust = Calibrated()
    trust.covariance, trust.variance, trust.batches = 1e-6, 1e-6, 1  # what was learnt before weighs next to nothing
    behavior = Behavior(before, before(start).logits.detach())
    dream = make(agent, trust=trust, repeats=1, epochs=4, horizon=1)
    dream.gamma = 0.0
    metrics = dream.run(start, batch, behavior, 0.0)
    prefers = (agent.heads.actor.bias - before.actor.bias)[1] > 0.0
    if truth > 0.0:
        assert metrics["dream/share"] > 0.5 and prefers
    else:
        assert metrics["dream/share"] == 0.0
        assert torch.equal(agent.heads.actor.weight, before.actor.weight)
    assert not torch.equal(agent.heads.critic.weight, before.critic.weight)


def test_the_share_narrows_the_neighborhood(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the policy has left what a share of the interval allows, nothing pulls it on; 1 allows the whole."""
    moved = []
    for share in (1.0, 0.2):
        twin = copy.deepcopy(agent)
        dream = make(twin, entropy=0.0, epochs=40, repeats=1)
        monkeypatch.setattr(Full, "share", share)
        start, before = starts(twin), copy.deepcopy(twin.heads)
        dream.run(start, lived(), Behavior(before, before(start).logits.detach()), 0.0)
        moved.append((twin.heads(start).logits - before(start).logits).abs().mean().item())
    assert moved[1] < 0.6 * moved[0]


def test_the_share_weighs_what_is_asked_of_the_policy(agent: Agent) -> None:
    dream = make(agent, entropy=0.5)
    batch = dream.dream(starts(agent), None).select(*dream.loss.in_keys)
    whole = dream.loss(batch)
    dream.loss.share.fill_(0.2)
    part = dream.loss(batch)  # at the policy that dreamt, where no ratio is clipped
    for key, weight in (("loss_objective", 0.2), ("loss_entropy", 0.2), ("loss_value", 1.0)):
        torch.testing.assert_close(part[key], weight * whole[key])
    assert whole["loss_entropy"] < -0.1


def test_what_a_step_is_worth_by_hand() -> None:
    """Reward, less the price of doubt, and the discounted value of where it may go on."""
    torch.manual_seed(0)
    agent = Agent(Doubtful(ends=0.4), hidden=8)
    start, action = starts(agent), torch.arange(32) % 3
    step = agent.world_model.imagine(start, action)._replace(uncertainty=torch.full((32,), 0.25))
    value = agent.heads(step.next_latent).value
    expected = step.reward - 2.0 * 0.25 + 0.9 * 0.6 * value
    torch.testing.assert_close(make(agent, pessimism=2.0).worth(step), expected.detach())


@pytest.mark.parametrize("chance", range(4))
def test_a_dream_that_is_nothing_but_chance_is_not_believed(chance: int) -> None:
    """Its two draws have nothing in common, so that what the model means is as often estimated below zero as above."""
    torch.manual_seed(chance)
    trust = Calibrated()
    shares = []
    for _ in range(400):
        trust.update(*torch.randn(3, 1024))
        shares.append(trust.share)
    assert trust.state_dict()["batches"] == 400
    assert sum(shares[100:]) / 300 < 0.5
    trust.variance = -1e-3
    assert trust.slope == trust.share == 0.0


class Certain(LinearModel):
    """Draws nothing, and counts the steps that are imagined."""

    imagined = 0

    def transition(self, latent: Tensor, action: Tensor) -> Point:
        return Point(self.mean(self.join(latent, action)), batch_shape=action.shape, event_shape=latent.shape[-1:])

    def imagine(self, latent: Tensor, action: Tensor) -> ImaginedStep:
        self.imagined += 1
        return super().imagine(latent, action)


def test_a_model_that_draws_nothing_is_asked_once() -> None:
    """Asked twice, it would say the same again: half the work, and the same policy."""
    agents = []
    for stochastic in (True, False):
        torch.manual_seed(0)
        agent = Agent(Certain(), hidden=8)
        agent.world_model.stochastic = stochastic
        start, before = starts(agent), copy.deepcopy(agent.heads)
        dream = make(agent, trust=Calibrated(), repeats=1, horizon=2)
        dream.run(start, lived(), Behavior(before, before(start).logits.detach()), 0.0)
        assert dream.trust.state_dict()["variance"] > 0.0
        assert agent.world_model.imagined == (4 if stochastic else 2) + 2
        agents.append(agent.heads.state_dict())
    assert all(torch.equal(agents[0][key], agents[1][key]) for key in agents[0])
