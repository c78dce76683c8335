"""Diagnostics on batches whose answer is known."""

from __future__ import annotations

import torch

from world_models.diagnostics import dead_units, effective_rank, latent_spread, reward_error_on_largest


def test_effective_rank_counts_directions():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(20, 20)).Q[:3]
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    assert torch.allclose(effective_rank(5 + signs @ basis), torch.tensor(3.0), atol=1e-3)


def test_equal_latents_have_no_rank():
    latents = torch.randn(1, 64, 7, 7).expand(700, -1, -1, -1)
    assert effective_rank(latents) == 0
    assert dead_units(latents) == 1


def test_spread_is_relative_to_size():
    torch.manual_seed(0)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    for scale in (1.0, 1e3):
        assert torch.allclose(latent_spread(scale * signs), torch.tensor(1.0))
        far = scale * torch.cat((signs, torch.full((8, 1), 4.0)), 1)  # 3 of 19 parts of the square are variance
        assert torch.allclose(latent_spread(far), torch.tensor((3 / 19) ** 0.5))
    assert latent_spread(torch.randn(1, 64, 7, 7).expand(700, -1, -1, -1)) < 1e-6
    assert latent_spread(torch.zeros(9, 5)) == 0
    near = 1 + 1e-4 * torch.randn(500, 20)
    assert effective_rank(near) > 10 and latent_spread(near) < 2e-4


def test_rank_of_wide_latents_survives_the_projection():
    torch.manual_seed(0)
    latents = torch.randn(600, 10) @ torch.linalg.qr(torch.randn(64 * 49, 10)).Q.T
    assert abs(effective_rank(latents.reshape(600, 64, 7, 7)) / 10 - 1) < 0.05


def test_dead_units_are_the_constant_ones():
    latents = torch.randn(50, 4)
    latents[:, 1] = 0.0
    assert dead_units(latents) == 0.25


def test_reward_error_on_the_largest_rewards():
    reward = torch.zeros(200)
    reward[7], reward[90] = -47.0, 5.0
    predicted = torch.ones(200)
    assert reward_error_on_largest(predicted, reward) == (48 + 4) / 2
    assert reward_error_on_largest(predicted, reward, share=1e-9) == 48
