"""bfloat16 inside of the large layers, single precision at their door, and nowhere that a claim hangs on it."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor
from torchrl.data import Bounded, Unbounded

from world_models.deterministic import DeterministicModel
from world_models.heads import LipschitzReward
from world_models.precision import set_precision, single_precision
from world_models.transition import LipschitzNetwork

SPECS = {
    "mlp": Unbounded((6,)),
    "small_cnn": Bounded(0, 1, (4, 10, 10), dtype=torch.uint8),
    "nature_cnn": Bounded(0, 255, (4, 84, 84), dtype=torch.uint8),
    "dense_cnn": Bounded(0, 255, (4, 84, 84), dtype=torch.uint8),
}


def built(encoder: str, **parts: object) -> DeterministicModel:
    torch.manual_seed(0)
    return DeterministicModel(SPECS[encoder], 3, encoder=encoder, **parts)


def walk(model: DeterministicModel) -> tuple[Tensor, ...]:
    """Latents, next latents, log odds of an end of the same eight transitions."""
    torch.manual_seed(1)
    observation = model.observation_spec.rand((8,))
    action = torch.randint(3, (8,))
    latent = model.encode(observation)
    dreamt = model.imagine(latent, action)
    return latent, dreamt.next_latent, model.termination_head.logit(latent, action, dreamt.next_latent)


def off(found: Tensor, exact: Tensor) -> float:
    """Relative distance."""
    return float((found - exact).detach().norm() / exact.detach().norm())


@pytest.mark.parametrize("encoder", SPECS)
def test_it_rounds_within_and_returns_single_precision(encoder: str) -> None:
    model = built(encoder)
    exact = walk(model)
    set_precision(model, "bf16")
    rounded = walk(model)
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == torch.float32
        assert off(found, expected) < 0.02
    assert off(rounded[1], exact[1]) > 0.0
    assert torch.equal(rounded[0], exact[0]) == (encoder == "mlp"), "vectors are encoded exactly"
    set_precision(model, "fp32")
    assert all(torch.equal(again, expected) for again, expected in zip(walk(model), exact, strict=True))


@pytest.mark.parametrize("encoder", SPECS)
def test_gradients_are_single_precision_and_point_the_same_way(encoder: str) -> None:
    slopes = []
    for precision in ("fp32", "bf16"):
        model = built(encoder)
        set_precision(model, precision)
        # tanh, as the sum of squares of a normalized latent is constant and has no gradient
        sum(part.tanh().square().sum() for part in walk(model)).backward()
        parameters = [p for p in model.parameters() if p.grad is not None]
        assert all(p.grad.dtype == torch.float32 for p in parameters)
        slopes.append(torch.cat([p.grad.flatten() for p in parameters]))
    assert torch.cosine_similarity(*slopes, dim=0) > 0.999


@pytest.mark.parametrize("encoder", ["small_cnn", "dense_cnn"])
def test_bytes_become_bfloat16_at_once_with_the_same_numbers(encoder: str) -> None:
    phi = built(encoder).encoder
    every = torch.arange(256, dtype=torch.uint8).repeat(4 * 84 * 84)[: 64 * math.prod(phi.observation_shape)]
    picture = every.reshape(64, *phi.observation_shape)
    assert torch.equal(phi.prepare(picture, torch.bfloat16), phi.prepare(picture).bfloat16())


def test_what_is_lipschitz_is_exact() -> None:
    model = built("mlp", network=LipschitzNetwork, reward=LipschitzReward)
    torch.manual_seed(2)
    latent, action = torch.randn(8, 64), torch.randint(3, (8,))

    def both() -> tuple[Tensor, Tensor]:
        return model.network(latent, action).location, model.reward(latent, action)

    exact = both()
    set_precision(model, "bf16")
    assert all(torch.equal(found, expected) for found, expected in zip(both(), exact, strict=True))


def test_the_setting_travels() -> None:
    model = built("mlp")
    set_precision(model, "bf16")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert all(torch.equal(a, b) for a, b in zip(walk(other), walk(model), strict=True))
        assert other.network.trunk.bf16


def test_it_can_be_left_for_a_while() -> None:
    model = built("small_cnn")
    exact = walk(model)
    set_precision(model, "bf16")
    with single_precision(model):
        assert all(torch.equal(found, expected) for found, expected in zip(walk(model), exact, strict=True))
    assert not torch.equal(walk(model)[0], exact[0])


def test_an_unknown_precision() -> None:
    with pytest.raises(ValueError, match=r"precision=bf61: no such precision. Did you mean bf16\? Allowed: fp32, bf16"):
        set_precision(built("mlp"), "bf61")
