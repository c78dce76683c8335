"""Targets, and what is learnt of a small world (that it is, tells ``world_models.checks.learning``)."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tests.world_models.support import build, observation_spec, unseeded
from world_models.checks import Subject
from world_models.checks.learning import chain, update

WORLD = chain(Subject(partial(unseeded, "deterministic"), observation_spec("one_hot")))


@pytest.mark.parametrize("target", ["Gradient", "StopGradient", "Slow"])
def test_targets(target):
    model = build("deterministic", observation_spec("flat"), target={"_target_": f"world_models.targets.{target}"})
    then = WORLD.then
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
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(300):
        update(model, optimizer, WORLD)
    now, action, then = WORLD.now, WORLD.action, WORLD.then
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
    reached[2:5, 2:5] = True  # one 2x2 convolution looks right and down, the other left and up
    assert (change[~reached] < 1e-5).all() and change[3, 3] > 1e-3
