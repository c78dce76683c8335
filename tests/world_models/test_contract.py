"""Every world model in ``configs/world_model`` keeps the contract, on every kind of observation."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.world_models.support import (
    ACTIONS,
    KINDS,
    NAMES,
    build_for_any,
    build_or_skip,
    observation_spec,
    observations,
)
from world_models.contract import LOCAL_LOSSES
from world_models.costs import stratified


@pytest.fixture(scope="module", params=[(name, kind) for name in NAMES for kind in KINDS], ids="-".join)
def model(request):
    name, kind = request.param
    return build_or_skip(name, observation_spec(kind))


def transitions(model, *batch):
    action = torch.randint(0, ACTIONS, batch)
    now, then = observations(model.observation_spec, *batch), observations(model.observation_spec, *batch)
    next_latent = model.target(model.encode(then), then)
    return model.encode(now), action, torch.randn(batch), next_latent, torch.rand(batch) < 0.3


@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
def test_shapes_for_any_leading_batch(model, batch):
    latent, action, reward, next_latent, terminated = transitions(model, *batch)
    event = model.latent_spec.shape
    assert latent.shape == next_latent.shape == (*batch, *event)
    assert latent.dtype == torch.float32
    distribution = model.transition(latent, action)
    assert distribution.batch_shape == batch and distribution.event_shape == event
    assert distribution.mean.shape == latent.shape
    assert distribution.sample((2,)).shape == (2, *latent.shape)
    samples, weights = stratified(distribution)
    assert samples.shape == (*weights.shape, *event) and weights.shape[:-1] == batch and samples.requires_grad
    assert model.reward(latent, action).shape == batch
    probability = model.termination(latent, action, next_latent)
    assert probability.shape == batch and (probability >= 0).all() and (probability <= 1).all()
    for tensors in (
        model.local_losses(latent, action, reward, next_latent, terminated),
        model.local_distances(latent, action, reward, next_latent, terminated),
    ):
        assert set(tensors.keys()) == set(LOCAL_LOSSES)
        assert all(value.shape == batch and value.isfinite().all() for value in tensors.values())


def test_batch_shape_does_not_change_values(model):
    latent, action, *_ = transitions(model, 2, 3)
    flat = model.transition(latent.flatten(0, 1), action.flatten()).mean.reshape(latent.shape)
    assert torch.allclose(model.transition(latent, action).mean, flat, atol=1e-5)
    assert torch.allclose(
        model.reward(latent, action).flatten(),
        model.reward(latent.flatten(0, 1), action.flatten()),
        atol=1e-5,
    )


def test_losses_are_per_transition(model):
    """A transition's loss depends on that transition alone."""
    latent, action, reward, next_latent, terminated = transitions(model, 4)
    latent = latent.detach().requires_grad_()
    losses = model.local_losses(latent, action, reward, next_latent.detach(), terminated)
    for value in losses.values():
        (grad,) = torch.autograd.grad(value[1], latent, retain_graph=True)
        others = grad[[0, 2, 3]]
        assert (others == 0).all()


def test_gradients_reach_every_parameter():
    """After one step (outputs start at zero) every parameter has a gradient that is not all zero."""
    for name in NAMES:
        model = build_for_any(name, "flat", "number")
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        for _ in range(2):
            optimizer.zero_grad()
            losses = model.local_losses(*transitions(model, 64))
            sum(value.mean() for value in losses.values()).backward()
            optimizer.step()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, f"{name}: {key}"


def test_roles_partition_the_parameters(model):
    encoder = {id(p) for p in model.encoder_parameters()}
    rest = {id(p) for p in model.model_parameters()}
    assert encoder and rest and not encoder & rest
    assert encoder | rest == {id(p) for p in model.parameters() if p.requires_grad}


def test_sampling_is_deterministic_under_seed(model):
    latent, action, *_ = transitions(model, 5)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(model.imagine(latent, action))
    for first, second in zip(*drawn, strict=True):
        assert torch.equal(first, second)


def test_imagine_carries_no_gradient(model):
    latent, action, *_ = transitions(model, 5)
    step = model.imagine(latent, action)
    assert not step.next_latent.requires_grad and not step.reward.requires_grad
    assert step.next_latent.shape == latent.shape
    assert step.termination.shape == (5,) and not step.termination.requires_grad


def test_state_dict_round_trip(model):
    spec = model.observation_spec
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    observation, action = observations(spec, 4), torch.randint(0, ACTIONS, (4,))
    latent = model.encode(observation)
    twin.imagine(latent, action)  # fills the caches of the old weights
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.encode(observation), latent)
    with torch.no_grad():
        assert torch.equal(twin.transition(latent, action).mean, model.transition(latent, action).mean)
        assert torch.equal(twin.reward(latent, action), model.reward(latent, action))


def test_gradient_and_no_gradient_agree(model):
    """Cached weights are those of the last update, bit for bit."""
    model = copy.deepcopy(model)
    latent, action, reward, next_latent, terminated = transitions(model, 4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(2):
        losses = model.local_losses(latent.detach(), action, reward, next_latent.detach(), terminated)
        optimizer.zero_grad()
        sum(value.mean() for value in losses.values()).backward()
        optimizer.step()
        with torch.no_grad():
            cached = model.transition(latent, action).mean
        assert torch.equal(model.transition(latent, action).mean.detach(), cached)
