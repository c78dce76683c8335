"""How far a dream is believed: the slope against one that is known, and what a wrong dream may still do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from planners.agent import Agent
from planners.dream import Behavior
from planners.trust import DECAY, Calibrated, Full, Trust
from tests.planners.linear_model import LinearModel
from tests.planners.test_dream import lived, make, starts
from world_models.contract import ImaginedStep

COUNT = 200_000
BEHAVIOR = torch.tensor([0.5, 0.3, 0.2])


def pulls(slope: float) -> tuple[Tensor, Tensor, Tensor]:
    """Real advantages ``[COUNT]`` of what was done, what a dream says of that, and of other actions. Dreamt differences
    are real ones divided by ``slope``; real ones are mostly noise, and both also tell states apart, each in its way."""
    torch.manual_seed(0)
    state = torch.randn(COUNT)
    worth = torch.randn(COUNT, 3)
    centered = worth - (BEHAVIOR * worth).sum(-1, keepdim=True)
    action, other = torch.multinomial(BEHAVIOR, 2 * COUNT, replacement=True).view(2, COUNT, 1)
    said = worth / slope + 5.0 * state.unsqueeze(-1)
    real = centered.gather(-1, action).squeeze(-1) + 2.0 * state + 3.0 * torch.randn(COUNT)
    return real, said.gather(-1, action).squeeze(-1), said.gather(-1, other).squeeze(-1)


@pytest.mark.parametrize(("slope", "share"), [(0.25, 0.25), (1.0, 1.0), (2.0, 1.0), (-1.0, 0.0)])
def test_the_slope_is_that_of_the_differences_between_actions(slope: float, share: float) -> None:
    trust = Calibrated()
    trust.update(*pulls(slope))
    assert trust.slope == pytest.approx(slope, abs=0.03)
    assert trust.share == pytest.approx(share, abs=0.03)


def test_batches_are_weighed_by_what_they_tell() -> None:
    """Moments are averaged, not slopes: a batch whose dreams see no difference says nothing."""
    trust = Calibrated()
    trust.update(*pulls(0.5))
    before = trust.slope
    nothing = torch.zeros(COUNT)
    trust.update(torch.randn(COUNT), nothing, nothing)
    assert trust.slope == pytest.approx(before)
    trust.update(*pulls(1.0))
    now, past = 1.0 - DECAY, (1.0 - DECAY) * DECAY**2
    assert trust.slope == pytest.approx((now * 1.0 + past * 4.0 * 0.5) / (now * 1.0 + past * 4.0), abs=0.03)


@pytest.mark.parametrize("kind", [Full, Calibrated])
def test_what_is_not_known_yet_is_believed(kind: type[Trust]) -> None:
    trust = kind()
    assert trust.slope == trust.share == 1.0
    other = kind()
    other.update(*pulls(-1.0))
    assert other.share == (1.0 if kind is Full else 0.0)
    trust.load_state_dict(copy.deepcopy(other.state_dict()))
    assert (trust.slope, trust.share) == (other.slope, other.share)


class Paying(LinearModel):
    """Promises a reward of 1 for action 1, and nothing else."""

    def imagine(self, latent: Tensor, action: Tensor) -> ImaginedStep:
        step = super().imagine(latent, action)
        return step._replace(reward=(action == 1).float(), next_latent=0.0 * step.next_latent)


@pytest.mark.parametrize("truth", [1.0, -1.0])
def test_a_dream_that_experience_speaks_against_leaves_the_policy(truth: float) -> None:
    """In truth action 1 pays ``truth``: the critic learns all the same."""
    torch.manual_seed(0)
    agent = Agent(Paying(), hidden=8)
    start = starts(agent)
    before = copy.deepcopy(agent.heads)
    batch = lived(target=1.0)
    batch["action"] = torch.arange(32).reshape(4, 8) % 2
    batch["advantage"] = truth * (batch["action"].float() - 0.5).unsqueeze(-1)
    trust = Calibrated()
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


def test_the_share_narrows_the_neighborhood(agent: Agent) -> None:
    """Where the policy has left what a share of the interval allows, nothing pulls it on; 1 allows the whole."""
    moved = []
    for share in (1.0, 0.2):
        twin = copy.deepcopy(agent)
        dream = make(twin, entropy=0.0, epochs=40, repeats=1)
        dream.judge = lambda *_, loss=dream.loss, share=share: setattr(loss, "share", torch.tensor(share))
        start, before = starts(twin), copy.deepcopy(twin.heads)
        dream.run(start, lived(), Behavior(before, before(start).logits.detach()), 0.0)
        moved.append((twin.heads(start).logits - before(start).logits).abs().mean().item())
    assert moved[1] < 0.6 * moved[0]
