"""Targets, and that every model learns a small world to almost no local loss."""

from __future__ import annotations

import pytest
import torch

from tests.world_models.support import ACTIONS, NAMES, build, build_for_any, observation_spec
from world_models.contract import LOCAL_LOSSES

CHAIN = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


def chain():
    """Every transition of 3 states + an end: action 0 stays, 1 goes on, 2 goes back; state 3 ends."""
    state, action = torch.cartesian_prod(torch.arange(3), torch.arange(ACTIONS)).unbind(1)
    after = (state + torch.tensor([0, 1, -1])[action]).clamp(0, 3)
    reward = torch.where(after == 3, 10.0, torch.where(action == 2, -1.0, 0.0))
    return CHAIN[state], action, reward, CHAIN[after], after == 3


def train(model, updates, lr=2e-3):
    now, action, reward, then, terminated = chain()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(updates):
        next_latent = model.target(model.encode(then), then)
        losses = model.local_losses(model.encode(now), action, reward, next_latent, terminated)
        optimizer.zero_grad()
        sum(value.mean() for value in losses.values()).backward()
        optimizer.step()
        model.after_update()
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_every_model_learns_a_chain(name):
    model = build_for_any(name, "flat", "one_hot")
    now, action, reward, then, terminated = chain()
    with torch.no_grad():
        before = model.local_losses(model.encode(now), action, reward, model.encode(then), terminated)
    losses = train(model, 700)
    assert losses["transition"].mean() < max(0.05, 0.1 * before["transition"].mean())
    if name == "mixture_paper":  # L1 and 1-Lipschitz in z: medians, and only as steep as the latents are apart
        assert losses["reward"].mean() < before["reward"].mean()
        return
    assert losses["reward"].mean() < 0.02 and losses["termination"].mean() < 0.02
    with torch.no_grad():
        latent = model.encode(now)
        step = model.imagine(latent, action)
        distances = model.local_distances(latent, action, reward, model.encode(then), terminated)
    assert torch.allclose(step.reward, reward, atol=0.2)
    assert set(distances.keys()) == set(LOCAL_LOSSES)
    states = model.encode(CHAIN[:3]).detach().flatten(1)
    assert torch.pdist(states).min() > 0.5, "states merged"


@pytest.mark.parametrize("target", ["Gradient", "StopGradient", "Slow"])
def test_targets(target):
    model = build("deterministic", observation_spec("flat"), target={"_target_": f"world_models.targets.{target}"})
    _, _, _, then, _ = chain()
    encoded = model.encode(then)
    aim = model.target(encoded, then)
    assert aim.requires_grad == (target == "Gradient")
    assert torch.equal(aim, encoded)
    trained = {id(p) for p in [*model.encoder_parameters(), *model.model_parameters()]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    moved = model.encode(then)
    assert torch.equal(model.target(moved, then), encoded if target == "Slow" else moved)
    model.after_update()
    if target == "Slow":
        slow, fast = model.target_choice.encoder, model.encoder
        key = "body.1.bias"
        before = dict(slow.named_parameters())[key].clone()
        model.after_update()
        after, aim_at = dict(slow.named_parameters())[key], dict(fast.named_parameters())[key]
        assert torch.allclose(after, before + 0.02 * (aim_at - before), atol=1e-6)
        assert any("target_choice" in name for name in model.state_dict())


def test_slow_target_refuses_a_bad_tau():
    with pytest.raises(ValueError, match=r"world_model\.target\.tau"):
        build("normal", observation_spec("flat"), target={"_target_": "world_models.targets.Slow", "tau": 0.0})


def test_cross_entropy_is_aimed_at_the_next_latent_not_the_present_one():
    """After learning a chain that moves on, the likeliest next latent is phi(s'), never phi(s)."""
    model = build("categorical", observation_spec("flat"))
    train(model, 300)
    now, action, _, then, _ = chain()
    moves = (now != then).any(-1)
    with torch.no_grad():
        latent, next_latent = model.encode(now)[moves], model.encode(then)[moves]
        distribution = model.transition(latent, action[moves])
        to_next, to_same = model.cost(distribution, next_latent), model.cost(distribution, latent)
    merged = (latent == next_latent).flatten(1).all(1)  # states that nothing tells apart share a latent
    assert (to_next < to_same)[~merged].all() and (~merged).sum() >= 3


def test_categorical_latents_are_exact_one_hots_with_gradient():
    model = build("categorical", observation_spec("flat"))
    latent = model.encode(torch.randn(5, 4))
    assert torch.equal(latent.detach(), torch.nn.functional.one_hot(latent.argmax(-1), latent.shape[-1]).float())
    (latent * torch.randn_like(latent)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder_parameters())
    sample = model.imagine(latent.detach(), torch.zeros(5, dtype=torch.long)).next_latent
    assert model.latent_spec.is_in(sample[0]) and torch.equal(sample.sum(-1), torch.ones(5, 32))


@pytest.mark.parametrize("name", ["deterministic", "mixture"])
def test_feature_maps_keep_positions(name):
    """A change at one position of the map reaches the next latent there and at its neighbors only."""
    model = build(name, observation_spec("image"))
    latent = torch.randn(1, *model.latent_spec.shape)
    other = latent.clone()
    other[:, :, 3, 3] += 1.0
    action = torch.tensor([1])
    with torch.no_grad():
        change = (model.transition(latent, action).mean - model.transition(other, action).mean).abs().sum((0, 1))
    reached = torch.zeros(7, 7, dtype=torch.bool)
    reached[1:4, 1:4] = True  # two 2x2 convolutions look right and down by two
    assert (change[~reached] < 1e-5).all() and change[3, 3] > 1e-3
