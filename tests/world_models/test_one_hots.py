"""One-hot samples: the right frequencies, exact one-hots, and the gradient that is claimed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.world_models.support import ACTIONS, build, observation_spec
from world_models.one_hots import Gumbel, StraightThrough

SAMPLINGS = [StraightThrough(), Gumbel(), Gumbel(temperature=0.3)]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_samples_are_one_hots_with_the_right_frequencies(sampling):
    torch.manual_seed(0)
    distribution = sampling.distribution(torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))
    for draw in (distribution.sample, distribution.rsample):
        samples = draw((20000,))
        assert samples.shape == (20000, 2, 3)
        assert torch.allclose(samples.sort(-1).values, torch.tensor([0.0, 0.0, 1.0]).expand_as(samples), atol=1e-6)
        assert torch.allclose(samples.mean(0), distribution.probs, atol=0.015)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_mode_is_deterministic_with_the_gradient_of_the_softmax(sampling):
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, dtype=torch.float64)
    mode = sampling.mode(logits)
    assert torch.equal(mode, sampling.mode(logits))
    assert torch.allclose(mode, F.one_hot(logits.argmax(-1), 4).double())
    temperature = getattr(sampling, "temperature", 1.0)
    expected = torch.autograd.grad((weight * (logits / temperature).softmax(-1)).sum(), logits)[0]
    assert torch.allclose(torch.autograd.grad((weight * mode).sum(), logits)[0], expected)


def test_gumbel_gradient_is_that_of_the_relaxed_sample_at_the_same_noise():
    logits, weight = torch.randn(7, 4, requires_grad=True), torch.randn(7, 4)
    torch.manual_seed(3)
    hard = torch.autograd.grad((weight * Gumbel(0.7).distribution(logits).rsample()).sum(), logits)[0]
    torch.manual_seed(3)
    # In normalized logits, as the distribution has them.
    relaxed = F.gumbel_softmax(logits.log_softmax(-1), 0.7)
    assert torch.allclose(hard, torch.autograd.grad((weight * relaxed).sum(), logits)[0], atol=1e-6)


def test_relaxed_gradient_nears_the_true_one_as_the_temperature_falls():
    """Of a function that is not linear in the probabilities: there straight-through is biased."""
    torch.manual_seed(0)
    logits, weight = torch.tensor([0.5, 0.0, -0.5], requires_grad=True), torch.tensor([1.0, -2.0, 3.0])

    def gradient(sampling):
        sample = sampling.distribution(logits.expand(200000, 3)).rsample()
        return torch.autograd.grad(((sample * weight).sum(-1) ** 2).mean(), logits)[0]

    true = torch.autograd.grad((logits.softmax(-1) * weight**2).sum(), logits)[0]
    errors = [(gradient(Gumbel(temperature)) - true).norm() for temperature in (2.0, 0.2)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("target", ["StraightThrough", "Gumbel"])
def test_the_model_uses_it_for_encoder_and_samples(target):
    spec = observation_spec("flat")
    model = build("categorical", spec, sampling={"_target_": f"world_models.one_hots.{target}"})
    observation = torch.randn(6, 4)
    latent = model.encode(observation)
    assert torch.equal(latent, model.encode(observation))
    distribution = model.transition(latent, torch.randint(0, ACTIONS, (6,)))
    gradient = torch.autograd.grad(distribution.rsample().square().sum(), latent)[0]
    assert gradient.abs().sum() > 0
    assert type(distribution.base_dist).__name__ == {"Gumbel": "GumbelOneHot"}.get(
        target, "OneHotCategoricalStraightThrough"
    )


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"world_model\.sampling\.temperature=0"):
        Gumbel(0)
