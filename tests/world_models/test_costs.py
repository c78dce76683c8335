"""Costs against numbers found another way: numerical integration, sampling, and small cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm, truncnorm
from torch.distributions import Independent, Normal, OneHotCategoricalStraightThrough
from torchrl.modules import Delta

from world_models.costs import (
    Coupling,
    CrossEntropy,
    EnergyScore,
    Hamming,
    SmoothL1,
    coupling_distance,
    expected_deviation,
)
from world_models.distributions import SoftMixture, TruncatedNormal

CASES = [(0.0, 1.0, 0.0), (0.3, 0.5, 2.0), (-1.0, 2.0, -1.5), (0.2, 0.1, 5.0), (1.0, 3.0, 0.9)]


def delta(point, event_dims=1):
    dims = point.ndim - event_dims
    return Delta(point, batch_shape=point.shape[:dims], event_shape=point.shape[dims:])


@pytest.mark.parametrize(("mean", "scale", "point"), CASES)
def test_folded_normal_against_integration(mean, scale, point):
    lower, upper = mean - 12 * scale, mean + 12 * scale
    expected, _ = quad(
        lambda x: abs(x - point) * norm.pdf(x, mean, scale),
        lower,
        upper,
        points=[min(upper, max(lower, point))],
    )
    value = expected_deviation(Normal(torch.tensor(mean), torch.tensor(scale)), torch.tensor(point))
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("mean", "scale", "point"), CASES)
def test_truncated_normal_against_integration(mean, scale, point):
    reference = truncnorm(-1, 1, mean, scale)
    lower, upper = mean - scale, mean + scale
    expected, _ = quad(
        lambda x: abs(x - point) * reference.pdf(x), lower, upper, points=[min(upper, max(lower, point))]
    )
    distribution = TruncatedNormal(torch.tensor(mean), torch.tensor(scale))
    assert expected_deviation(distribution, torch.tensor(point)).item() == pytest.approx(expected, rel=1e-5)
    assert distribution.variance.item() == pytest.approx(reference.var(), rel=1e-5)
    inside = torch.tensor(mean + 0.4 * scale)
    assert distribution.log_prob(inside).item() == pytest.approx(reference.logpdf(inside.item()), rel=1e-4)


def test_truncated_noise_is_truncated_and_has_its_distribution():
    torch.manual_seed(0)
    samples = TruncatedNormal(torch.zeros(20000), torch.ones(20000)).rsample()
    assert samples.abs().max() <= 1
    quantiles = torch.tensor(truncnorm(-1, 1).ppf(np.linspace(0.1, 0.9, 9)), dtype=torch.float32)
    assert torch.allclose(samples.quantile(torch.linspace(0.1, 0.9, 9)), quantiles, atol=0.02)


def test_soft_mixture_moments_match_its_samples():
    torch.manual_seed(0)
    distribution = SoftMixture(torch.randn(2, 4, 2, 2), torch.rand(2, 3, 4, 2, 2), 3)
    samples = distribution.rsample((20000,))
    assert torch.allclose(samples.mean(0), distribution.mean, atol=0.03)
    assert torch.allclose(samples.var(0), distribution.variance, rtol=0.08, atol=1e-3)


def test_smooth_l1_is_a_mean_whatever_the_latent_size_and_the_paper_s_a_sum():
    for size in (4, 400):
        predicted, point = delta(torch.zeros(3, size)), torch.full((3, size), 2.0)
        assert torch.allclose(SmoothL1()(predicted, point), torch.tensor(1.5))
        assert torch.allclose(SmoothL1(reduction="sum")(predicted, point), torch.tensor(1.5 * size))
        assert torch.allclose(Coupling()(predicted, point), torch.tensor(2.0))
        assert torch.allclose(coupling_distance(predicted, point), torch.tensor(2.0 * size))
    with pytest.raises(ValueError, match=r"world_model\.cost\.reduction"):
        SmoothL1(reduction="median")


def test_coupling_of_soft_mixture_is_an_unbiased_sample():
    torch.manual_seed(0)
    distribution = SoftMixture(torch.zeros(1, 50000), torch.ones(1, 1, 50000), 1)
    expected = expected_deviation(TruncatedNormal(torch.tensor(0.0), torch.tensor(1.0)), torch.tensor(0.7))
    assert Coupling()(distribution, torch.full((1, 50000), 0.7)).item() == pytest.approx(expected.item(), rel=0.02)


def test_energy_score_prefers_the_truth_and_coupling_does_not():
    """A world of +1 or -1 at random: the coupling cost is content with a point, the energy score not."""
    torch.manual_seed(0)
    world = torch.randint(0, 2, (40000, 1)) * 2.0 - 1.0

    def normal(scale):
        return Independent(Normal(torch.zeros(40000, 1), torch.full((40000, 1), scale)), 1)

    energy = [EnergyScore()(normal(scale), world).mean() for scale in (0.01, 1.0, 4.0)]
    assert energy[1] < energy[0] and energy[1] < energy[2]
    coupling = [Coupling()(normal(scale), world).mean() for scale in (0.01, 1.0, 4.0)]
    assert coupling[0] < coupling[1] < coupling[2]


def one_hot(logits):
    return Independent(OneHotCategoricalStraightThrough(logits=logits, validate_args=False), 1)


def test_categorical_costs_by_hand():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    point = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    distribution = one_hot(probabilities.log())
    assert CrossEntropy()(distribution, point).item() == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2, rel=1e-5)
    assert Hamming()(distribution, point).item() == pytest.approx((0.3 + 0.9) / 2, rel=1e-5)
    assert coupling_distance(distribution, point).item() == pytest.approx(2 * (0.3 + 0.9), rel=1e-5)


def test_categorical_distance_matches_samples():
    torch.manual_seed(0)
    distribution = one_hot(torch.randn(6, 4))
    point = torch.nn.functional.one_hot(torch.arange(6) % 4, 4).float()
    sampled = (distribution.sample((20000,)) - point).abs().sum((-1, -2)).mean()
    assert coupling_distance(distribution, point).item() == pytest.approx(sampled.item(), rel=0.02)


def test_cost_made_for_one_hots_refuses_others():
    with pytest.raises(ValueError, match=r"world_model\.cost"):
        CrossEntropy()(Independent(Normal(torch.zeros(2, 3), torch.ones(2, 3)), 1), torch.zeros(2, 3))
