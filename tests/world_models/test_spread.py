"""What holds latents apart: its formula, its gradient, and that it undoes a merging of states."""

from __future__ import annotations

import pytest
import torch
from torchrl.data import Bounded

from tests.world_models.support import ACTIONS, observation_spec
from world_models.decoders import Decoder
from world_models.deterministic import DeterministicModel
from world_models.diagnostics import latent_spread
from world_models.encoders import build_encoder
from world_models.rssm import RSSM
from world_models.spread import Variance


def test_it_is_the_mean_lack_of_deviation():
    latent = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 5.0], [1.0, 4.0, 3.0], [1.0, 4.0, 5.0]], dtype=torch.float64)
    size = latent.square().mean().sqrt()  # each unit deviates by 0, 1, 1
    expected = 2.0 * (0.5 + 2.0 * (0.5 - 1.0 / size)) / 3.0
    loss = Variance(2.0, 0.5)(latent.reshape(2, 2, 3), 1)
    assert loss.shape == (2, 2)
    assert torch.allclose(loss, expected.expand(2, 2), atol=1e-3)
    maps = Variance(2.0, 0.5)(latent.reshape(4, 1, 3), 2)
    assert maps.shape == (4,) and torch.equal(maps[0], loss[0, 0])


def test_longer_latents_gain_nothing_and_enough_is_enough():
    torch.manual_seed(0)
    near = torch.randn(64, 8, dtype=torch.float64) * 0.1 + 3.0
    loss = Variance(1.0)(near, 1)
    assert 0.25 < loss[0].item() < 0.3
    for scale in (1e-4, 1e3):
        assert torch.allclose(Variance(1.0)(scale * near, 1), loss, rtol=1e-5)
    assert Variance(1.0)(torch.full((4, 8), 1e-3), 1)[0].item() == pytest.approx(0.299)
    assert Variance(1.0)(torch.zeros(0, 8), 1).shape == (0,)
    assert torch.equal(Variance(1.0)(torch.randn(64, 8), 1), torch.zeros(64))
    assert torch.equal(Variance(0.0)(near, 1), torch.zeros(64, dtype=torch.float64))


@pytest.mark.parametrize("rows", [1, 6])
def test_gradient_against_finite_differences_and_finite_for_equal_latents(rows):
    torch.manual_seed(1)
    latent = (torch.randn(rows, 4, dtype=torch.float64) * 0.05 + 1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: Variance(1.0)(z, 1).mean(), latent)
    equal = torch.ones(rows, 4, requires_grad=True)
    Variance(1.0)(equal, 1).mean().backward()
    assert equal.grad is not None and torch.isfinite(equal.grad).all()


def test_an_encoder_under_it_takes_pictures_apart_that_are_nearly_alike():
    torch.manual_seed(2)
    encoder = build_encoder("dense_cnn", Bounded(0, 255, (1, 36, 44), dtype=torch.uint8))
    pictures = torch.randint(256, (1, 1, 36, 44), dtype=torch.uint8).repeat(10, 1, 1, 1)
    for index, picture in enumerate(pictures):
        picture[0, 16:20, 4 * index : 4 * index + 4] = 255
    optimizer = torch.optim.Adam(encoder.parameters(), lr=2.5e-4)
    spreads = []
    for _ in range(60):
        latent = encoder(pictures)
        spreads.append(latent_spread(latent).item())
        optimizer.zero_grad()
        Variance(1.0)(latent, 1).mean().backward()
        optimizer.step()
    assert spreads[0] < 0.2 and spreads[-1] > 0.35


def test_models_ask_it_of_their_latents_beside_any_reconstruction():
    torch.manual_seed(3)
    apart = Variance(1.0, 1.0)
    model = DeterministicModel(observation_spec("flat"), ACTIONS, spread=apart)
    latent = torch.randn(4, 5, *model.latent_spec.shape)
    observation = torch.zeros(4, 5, *observation_spec("flat").shape)
    assert torch.equal(model.representation_loss(latent, observation), apart(latent, 1))
    assert not DeterministicModel(observation_spec("flat"), ACTIONS).representation_loss(latent, observation).any()
    recurrent = RSSM(observation_spec("flat"), ACTIONS, spread=apart, decoder=Decoder)
    assert recurrent.decoder is not None
    latent = torch.randn(4, 5, *recurrent.latent_spec.shape)
    expected = apart(latent, 1) + recurrent.decoder.loss(latent, observation)
    assert torch.equal(recurrent.representation_loss(latent, observation), expected)
    recurrent.decoder = None
    assert torch.equal(recurrent.representation_loss(latent, observation), apart(latent, 1))


@pytest.mark.parametrize(
    "words, said",
    [
        ({"weight": -1.0}, "world_model.spread.weight=-1.0: must be at least 0"),
        ({"weight": float("nan")}, "world_model.spread.weight=nan: must be at least 0"),
        ({"weight": 1.0, "target": 0.0}, "world_model.spread.target=0.0: must be above 0 and at most 1"),
        ({"weight": 1.0, "target": 1.5}, "world_model.spread.target=1.5: must be above 0 and at most 1"),
    ],
)
def test_wrong_settings_are_refused(words, said):
    with pytest.raises(ValueError, match=said):
        Variance(**words)
