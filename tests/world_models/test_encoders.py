"""Encoders: choice by observation, shapes, scaling, and what they refuse."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torchrl.data import Binary, Bounded, Categorical, OneHot, Unbounded

from tests.world_models.support import observation_spec, observations
from world_models.decoders import Decoder
from world_models.encoders import ENCODERS, MLP, NatureCNN, build_encoder, suggest_encoder
from world_models.names import Unsuited


@pytest.mark.parametrize(
    ("spec", "name", "latent"),
    [
        (Bounded(0, 255, (4, 84, 84), dtype=torch.uint8), "dense_cnn", (128,)),
        (Bounded(0, 255, (1, 36, 44), dtype=torch.uint8), "dense_cnn", (128,)),
        (Binary(shape=(6, 10, 10), dtype=torch.bool), "small_cnn", (128,)),
        (Bounded(0, 1, (4, 10, 10), dtype=torch.uint8), "small_cnn", (128,)),
        (Bounded(0, 255, (1, 5, 8), dtype=torch.uint8), "mlp", (64,)),
        (Unbounded((4,)), "mlp", (64,)),
        (OneHot(16, dtype=torch.uint8), "mlp", (64,)),
        (Categorical(16, shape=()), "mlp", (64,)),
        (Bounded(0, 255, (3, 30, 40), dtype=torch.uint8), "mlp", (64,)),
        (Bounded(0, 1, (4, 35, 35), dtype=torch.float32), "small_cnn", (128,)),
    ],
)
def test_auto_chooses_and_shapes_follow(spec, name, latent):
    assert suggest_encoder(spec) == name
    encoder = build_encoder("auto", spec)
    assert encoder.latent_shape == latent
    for batch in ((), (3,), (2, 5)):
        assert encoder(observations(spec, *batch)).shape == (*batch, *latent)


def test_pictures_are_divided_by_the_largest_value_of_their_spec():
    ones = torch.ones(1, 4, 10, 10, dtype=torch.uint8)
    torch.manual_seed(0)
    flags = build_encoder("small_cnn", Binary(shape=(4, 10, 10), dtype=torch.uint8))
    torch.manual_seed(0)
    grey = build_encoder("small_cnn", Bounded(0, 255, (4, 10, 10), dtype=torch.uint8))
    assert torch.allclose(flags(ones), grey(255 * ones), atol=1e-6)
    picture = build_encoder("nature_cnn", observation_spec("image"))
    assert picture.prepare(torch.full((1, 1, 84, 84), 255, dtype=torch.uint8)).max() == 1


@pytest.mark.parametrize(
    ("kind", "latent"), [("image", (64, 7, 7)), ("minatar", (128,)), ("cells", (64,)), ("flat", (64,))]
)
def test_the_papers_encoder_is_the_feature_map_wherever_one_fits(kind, latent):
    assert build_encoder("feature_map", observation_spec(kind)).latent_shape == latent


def test_one_of_a_finite_number_of_values_comes_back_in_its_own_shape():
    for shape in ((), (1,)):
        spec = Categorical(5, shape=shape)
        encoder = build_encoder("mlp", spec)
        seen = torch.tensor([3, 0, 4]).reshape(3, *shape)
        assert torch.equal(encoder.restore(encoder.prepare(seen).reshape(3, 5)), seen.float())


def test_dense_latents_cannot_shrink():
    """Whatever the last layer's weights, a latent has mean 0 and variance 1 over its units."""
    torch.manual_seed(0)
    encoder = build_encoder("dense_cnn", observation_spec("image"))
    pictures = observations(observation_spec("image"), 4)
    for parameter in encoder.parameters():
        parameter.data.mul_(0.5)
    latents = encoder(pictures)
    assert torch.allclose(latents.mean(-1), torch.zeros(4), atol=1e-5)
    assert torch.allclose(latents.var(-1, unbiased=False), torch.ones(4), atol=0.05)


def test_mlp_keeps_near_states_apart_and_unbounded_inputs_finite():
    """Pictures that differ in where the agent stands, two pixels of forty, start well apart."""
    torch.manual_seed(0)
    spec = observation_spec("cells")
    pictures = torch.full((16, 1, 5, 8), 100, dtype=torch.uint8)
    pictures.flatten(1)[torch.arange(16), torch.arange(16)] = 255
    latents = build_encoder("mlp", spec)(pictures)
    assert torch.pdist(latents).min() > 1.0
    assert torch.allclose(latents.norm(dim=-1), torch.tensor(8.0), atol=1e-2)
    assert build_encoder("mlp", Unbounded((2,)))(torch.tensor([1e30, -1e30])).isfinite().all()


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("nature_cn", observation_spec("image")),
        ("nature_cnn", observation_spec("minatar")),
        ("nature_cnn", observation_spec("flat")),
        ("dense_cnn", observation_spec("minatar")),
        ("small_cnn", observation_spec("image")),
        ("small_cnn", observation_spec("flat")),
        ("mlp", observation_spec("image")),
    ],
)
def test_refusals_name_key_value_shape_and_what_is_allowed(name, spec):
    with pytest.raises(ValueError if name == "nature_cn" else Unsuited) as error:
        build_encoder(name, spec)
    message = str(error.value)
    assert f"world_model.encoder={name}" in message
    assert str(list(spec.shape)) in message
    assert "nature_cnn, dense_cnn, small_cnn, mlp" in message


@pytest.mark.parametrize("spec", [Bounded(0, 255, (3, 30, 50), dtype=torch.uint8), Unbounded((5000,))])
@pytest.mark.parametrize("name", ["auto", "mlp"])
def test_what_none_of_ours_takes(spec, name):
    assert suggest_encoder(spec) is None
    with pytest.raises(Unsuited) as error:
        build_encoder(name, spec)
    message = str(error.value)
    needs = [encoder.needs for encoder in (ENCODERS.values() if name == "auto" else [MLP])]
    for part in (f"world_model.encoder={name}", str(list(spec.shape)), "a class of your own", *needs):
        assert part in message


def test_a_class_in_the_place_of_a_name():
    encoder = build_encoder(partial(MLP, latent=5), Unbounded((6,)))
    assert encoder.latent_shape == (5,) and encoder(torch.zeros(2, 6)).shape == (2, 5)


def test_a_class_that_does_not_suit():
    with pytest.raises(
        Unsuited, match=r"world_model.encoder=NatureCNN: can't take an observation of shape \[1, 5, 8\]"
    ):
        build_encoder(NatureCNN, Bounded(0, 255, (1, 5, 8), dtype=torch.uint8))
    liar = nn.Linear(6, 4)
    liar.latent_shape = (7,)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="world_model.encoder=Linear: needs a latent_shape"):
        build_encoder(lambda spec: nn.Linear(6, 4), Unbounded((6,)))
    with pytest.raises(ValueError, match=r"latents of shape \[4\], but its latent_shape is \[7\]"):
        build_encoder(lambda spec: liar, Unbounded((6,)))


def test_a_decoder_says_what_it_needs_of_an_encoder():
    with pytest.raises(ValueError) as error:
        Decoder((4,), nn.Linear(6, 4))  # type: ignore[arg-type]
    for part in (
        "world_model.decoder=Decoder",
        "Linear lacks observation_shape, prepared_shape, prepare, restore",
        "null",
    ):
        assert part in str(error.value)
