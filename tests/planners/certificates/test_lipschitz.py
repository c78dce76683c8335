"""Lipschitz constants under a policy: estimates against closed forms, and what a user may claim."""

from __future__ import annotations

import math

import pytest
import torch

from planners.agent import Agent
from planners.certificates.lipschitz import Given, Lipschitz, estimate_lipschitz, under_policy
from tests.planners.linear_model import LinearModel


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
    assert estimate_lipschitz(agent.world_model, agent.heads, merged, action, merged) == Lipschitz(0.0, 0.0, 0.0, 0.0)


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
    assert abs(k.K_V * float(nearest) - 10.0) < 1e-2 and abs(k.K_D * float(nearest) - 1.0) < 1e-3


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


def test_rounding_is_no_slope() -> None:
    """A reward, and an end, that are the same everywhere: their constants are 0, and a user may say so."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.3), hidden=8)
    with torch.no_grad():
        agent.world_model.reward_net.weight.zero_()
        agent.world_model.reward_net.bias.fill_(49.7)
        agent.heads.actor.weight.normal_()
    latent = torch.randn(200, 4) * 10.0 ** torch.linspace(-4, 0, 200)[:, None]
    action = torch.zeros(200, dtype=torch.long)
    found = estimate_lipschitz(agent.world_model, agent.heads, latent, action, latent)
    assert (found.K_R, found.K_D) == (0.0, 0.0)


ESTIMATE = Lipschitz(K_R=0.5, K_P=0.4, K_D=0.1, K_V=2.0)


def test_known_constants() -> None:
    known = ESTIMATE.known_as(Given(1.0, 0.5, 0.2), gamma=0.9, V_max=10.0)
    of_value = (1.0 + 0.9 * 1.5 * 0.2 * 10.0) / (1 - 0.9 * 0.5)
    assert known == Lipschitz(1.0, 0.5, 0.2, pytest.approx(of_value + 0.2 * 10.0), known=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given(1.0, 1.2, 0.2), r"K_P=1\.2.*K_P < 1/gamma = 1\.111"),
        (Given(-1.0, 0.5, 0.2), "K_R=-1.0.*at least 0"),
        (Given(math.nan, 0.5, 0.2), "K_R=nan.*a finite number"),
        (Given(1.0, math.inf, 0.2), "K_P=inf.*a finite number"),
        (Given(1.0, 0.5, math.nan), "K_D=nan.*a finite number"),
        (Given(0.3, 0.5, 0.2), "K_R=0.3: two states of the data show that it is at least 0.5"),
        (Given(1.0, 0.3, 0.2), "K_P=0.3: two states"),
        (Given(1.0, 0.5, 0.0), "K_D=0.0: two states"),
    ],
)
def test_constants_that_cannot_be_true(given: Given, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ESTIMATE.known_as(given, 0.9, 10.0)


def test_any_transition_is_allowed_without_discount() -> None:
    Given(1.0, 5.0, 0.0).check(gamma=0.0)
