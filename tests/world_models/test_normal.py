"""The normal model where its scale is least."""

from __future__ import annotations

import torch

from tests.world_models.support import ACTIONS, build, observation_spec

LIPSCHITZ = {"_target_": "world_models.transition.LipschitzNetwork", "hidden": 32}


def test_a_scale_of_zero_has_finite_distances_losses_and_gradients():
    """A Lipschitz network may say 0, and then predict the very target."""
    model = build("normal", observation_spec("flat"), network=LIPSCHITZ)
    with torch.no_grad():
        for tensor in (model.network.heads.weight, model.network.heads.bias):
            tensor[1:] = 0.0
    latent, action = model.encode(torch.randn(5, 4)).detach(), torch.arange(5) % ACTIONS
    location, scale = model.network(latent, action)
    assert (scale == 0).all()
    batch = latent, action, torch.randn(5), location.squeeze(1).detach(), torch.zeros(5).bool()
    losses = model.local_losses(*batch)
    losses["transition"].sum().backward()
    gradients = [p.grad for p in model.network.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    for found in (losses, model.local_distances(*batch)):
        assert all(value.isfinite().all() for value in found.values())
