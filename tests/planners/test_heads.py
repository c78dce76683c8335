"""Actor and critic, with one dense layer or one each."""

from __future__ import annotations

import pytest
import torch

from planners.heads import Heads, SeparateHeads


@pytest.mark.parametrize("kind", [Heads, SeparateHeads])
def test_latents_of_any_batch_shape(kind: type[Heads]) -> None:
    torch.manual_seed(0)
    heads = kind(torch.Size([2, 3]), 4, 8)
    latent = torch.randn(5, 7, 2, 3)
    logits, value = heads(latent)
    assert logits.shape == (5, 7, 4) and value.shape == (5, 7)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(5, 7))
    torch.testing.assert_close(heads(latent[2, 3]).value, value[2, 3])


@pytest.mark.parametrize(("kind", "reached"), [(Heads, True), (SeparateHeads, False)])
def test_the_critic_moves_the_actor_only_through_what_they_share(kind: type[Heads], reached: bool) -> None:
    torch.manual_seed(0)
    heads, latent = kind(torch.Size([3]), 2, 8), torch.randn(6, 3, requires_grad=True)
    heads(latent).value.sum().backward()
    assert (heads.trunk.weight.grad is not None) == reached
    assert heads.actor.weight.grad is None
    assert latent.grad is not None and latent.grad.abs().sum() > 0


@pytest.mark.parametrize(("kind", "kept"), [(Heads, False), (SeparateHeads, True)])
def test_a_policy_that_is_taken_back_leaves_the_critic_what_is_its_own(kind: type[Heads], kept: bool) -> None:
    torch.manual_seed(0)
    heads, before, latent = kind(torch.Size([3]), 2, 8), kind(torch.Size([3]), 2, 8), torch.randn(6, 3)
    value = heads(latent).value
    heads.take_back(before)
    assert torch.equal(heads(latent).logits, before(latent).logits)
    assert torch.equal(heads(latent).value, value if kept else before(latent).value)
