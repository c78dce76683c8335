"""The true mixture: "here or there" with the right odds, which the soft mixture and a point can't say."""

from __future__ import annotations

import pytest
import torch

from tests.world_models.support import ACTIONS, build, observation_spec
from world_models.transition import MIN_SCALE

CELLS = torch.eye(4)[:3]
ODDS = 0.8


def hazard(count):
    """Transitions of the maze's hazard: cell 0 leads to cell 1 (0.8) or cell 2 (0.2), which lead to themselves."""
    state, action = torch.randint(0, 3, (count,)), torch.randint(0, ACTIONS, (count,))
    after = torch.where(state == 0, torch.where(torch.rand(count) < ODDS, 1, 2), state)
    # The reward keeps the cells' latents apart; the transition alone would rather have some of them equal.
    return CELLS[state], action, state.float(), CELLS[after], torch.zeros(count, dtype=torch.bool)


def dreamt_odds(name, updates=600, **overrides):
    """Shares of the dreams from the hazard that end near cell 1 and near cell 2 (within 0.3 of their distance)."""
    model = build(name, observation_spec("flat"), **overrides)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, updates)
    for _ in range(updates):
        now, action, reward, then, terminated = hazard(64)
        next_latent = model.target(model.encode(then), then)
        losses = model.local_losses(model.encode(now), action, reward, next_latent, terminated)
        optimizer.zero_grad()
        (losses["transition"] + losses["reward"]).mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        latent = model.encode(CELLS)
        action = torch.zeros(4000, dtype=torch.long)
        dreamt = model.imagine(latent[:1].expand(4000, *latent.shape[1:]), action).next_latent.flatten(1)
        ends = latent[1:].flatten(1)
        return (torch.cdist(dreamt, ends) < 0.3 * torch.pdist(ends)).float().mean(0)


@pytest.mark.parametrize("cost", ["EnergyScore", "Likelihood"])
def test_it_learns_both_modes_and_their_odds(cost):
    upper, lower = dreamt_odds("true_mixture", cost={"_target_": f"world_models.costs.{cost}"}).tolist()
    assert upper == pytest.approx(ODDS, abs=0.05) and lower == pytest.approx(1 - ODDS, abs=0.05)


@pytest.mark.parametrize("name", ["mixture", "deterministic"])
def test_others_forget_that_the_world_is_random(name):
    assert dreamt_odds(name, 300)[1] < 0.05


PARTS = [
    (network, weights)
    for network in ("PlainNetwork", "LipschitzNetwork", "PaperLipschitzNetwork")
    for weights in ("DenseWeights", "ActionWeights")
]


@pytest.mark.parametrize(("network", "weights"), PARTS)
@pytest.mark.parametrize("kind", ["flat", "minatar"])
def test_parts_of_the_mixture(network, weights, kind):
    """The mean is the weighted mean; a constant is claimed only where network and weights allow it."""
    model = build(
        "true_mixture",
        observation_spec(kind),
        network={"_target_": f"world_models.transition.{network}", "hidden": 16},
        weights={"_target_": f"world_models.true_mixture.{weights}"},
    )
    lipschitz = network != "PlainNetwork" and weights == "ActionWeights"
    assert model.transition_lipschitz == (1.0 if lipschitz else None)
    shape = model.latent_spec.shape
    latent, action = torch.randn(6, *shape), torch.randint(0, ACTIONS, (6,))
    for parameter in model.weights.parameters():
        torch.nn.init.normal_(parameter)
    distribution = model.transition(latent, action)
    probs = model.weights(latent, action).softmax(-1)
    location, scale = model.network(latent, action)
    expected = (probs.reshape(6, 5, *[1] * len(shape)) * location).sum(1)
    assert torch.allclose(distribution.mean, expected, atol=1e-5)
    assert torch.allclose(distribution.component_distribution.stddev, scale + MIN_SCALE, atol=1e-5)


def test_a_dream_is_near_one_component_in_every_dimension():
    """One choice for the whole latent: no sample has one half from here and one half from there."""
    model = build("true_mixture", observation_spec("flat"), components=2)
    torch.nn.init.zeros_(model.network.heads.weight)
    with torch.no_grad():
        model.network.heads.bias.copy_(torch.tensor([3.0, -3.0, -9.0, -9.0]).unsqueeze(-1))
    latent = torch.zeros(500, *model.latent_spec.shape)
    dreamt = model.imagine(latent, torch.zeros(500, dtype=torch.long)).next_latent
    assert (dreamt.sign() == dreamt[:, :1].sign()).all()
    assert 0.4 < (dreamt[:, 0] > 0).float().mean() < 0.6


@pytest.mark.parametrize("network", ["PlainNetwork", "LipschitzNetwork"])
def test_plain_networks_are_an_override_away_in_both_mixtures(network):
    for name in ("mixture", "true_mixture"):
        model = build(name, observation_spec("flat"), network={"_target_": f"world_models.transition.{network}"})
        assert type(model.network).__name__ == network


def test_no_components_are_refused():
    with pytest.raises(ValueError, match=r"world_model\.components=0"):
        build("true_mixture", observation_spec("flat"), components=0)
