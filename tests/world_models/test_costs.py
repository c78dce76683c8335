"""Costs against numbers found another way: numerical integration, sampling, and small cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm, truncnorm
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, OneHotCategoricalStraightThrough
from torchrl.modules import Delta

from world_models.costs import (
    Coupling,
    CrossEntropy,
    EnergyScore,
    Hamming,
    JensenShannon,
    KLBalance,
    Likelihood,
    SmoothL1,
    Squared,
    coupling_distance,
    expected_deviation,
)
from world_models.discrepancy import TotalVariation
from world_models.distributions import Point, SideBySide, SoftMixture, truncated_noise
from world_models.names import Unsuited

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


def test_truncated_noise_is_truncated_and_has_its_distribution():
    torch.manual_seed(0)
    samples = truncated_noise(torch.Size(), torch.empty(20000))
    assert samples.abs().max() <= 1
    quantiles = torch.tensor(truncnorm(-1, 1).ppf(np.linspace(0.1, 0.9, 9)), dtype=torch.float32)
    assert torch.allclose(samples.quantile(torch.linspace(0.1, 0.9, 9)), quantiles, atol=0.02)
    one = SoftMixture(torch.zeros(1), torch.full((1, 1), 2.0), 1)
    assert one.variance.item() == pytest.approx(truncnorm(-1, 1, 0, 2).var(), rel=1e-5)


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
    expected, _ = quad(lambda x: abs(x - 0.7) * truncnorm.pdf(x, -1, 1), -1, 1, points=[0.7])
    assert Coupling()(distribution, torch.full((1, 50000), 0.7)).item() == pytest.approx(expected, rel=0.02)


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


@pytest.mark.parametrize("cost", [CrossEntropy(), Hamming(), JensenShannon(), KLBalance(), TotalVariation()])
def test_cost_made_for_one_hots_refuses_others(cost):
    normal = Independent(Normal(torch.zeros(2, 3), torch.ones(2, 3)), 1)
    told = rf"world_model\.cost={type(cost).__name__}: for one-hot latents.*not Normal\. Allowed here: SmoothL1"
    with pytest.raises(Unsuited, match=told):
        cost.of_transition(torch.zeros(2, 3), torch.zeros(2).long(), normal, torch.zeros(2, 3))


def test_kl_balance_is_per_transition_also_for_one_variable():
    """Latents of one one-hot, as a table's, have no axis of variables: three of them cost what each costs alone."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    point = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = KLBalance(free=0.1)(OneHotCategoricalStraightThrough(logits=logits), point)
    expected = 1.1 * (-(point * logits.log_softmax(-1)).sum(-1)).clamp_min(0.1)
    assert torch.allclose(found, expected)
    several = KLBalance(free=0.1)(one_hot(logits.unsqueeze(0)), point.unsqueeze(0))
    assert several.shape == (1,)
    total = -(point * logits.log_softmax(-1)).sum()
    assert several.item() == pytest.approx(1.1 * total.item() / 3, rel=1e-5)


# ---------------------------------------------------------------------- more costs of points and one-hots


def test_smooth_l1_with_beta_is_huber_over_beta():
    point, predicted = torch.linspace(-3, 3, 40).unsqueeze(-1), torch.zeros(40, 1)
    for beta in (0.5, 1.0, 2.0):
        expected = torch.nn.functional.huber_loss(predicted, point, reduction="none", delta=beta).squeeze(-1) / beta
        assert torch.allclose(SmoothL1(beta=beta)(delta(predicted), point), expected)
    with pytest.raises(ValueError, match=r"world_model\.cost\.beta=0"):
        SmoothL1(beta=0)


class Silent(Normal):
    """Of unknown variance."""

    @property
    def variance(self):
        raise NotImplementedError


def test_squared_is_bias_and_variance():
    """In closed form, or the mean of what one sample gives."""
    torch.manual_seed(0)
    mean, scale, point = torch.randn(3), torch.rand(3), torch.randn(3)
    expected = ((point - mean).square() + scale.square()).mean()
    assert torch.allclose(Squared()(Independent(Normal(mean, scale), 1), point), expected)
    many = Independent(Silent(mean.expand(40000, 3), scale.expand(40000, 3)), 1)
    assert Squared()(many, point.expand(40000, 3)).mean().item() == pytest.approx(expected.item(), rel=0.02)
    parts = SideBySide(
        Point(mean, batch_shape=mean.shape[:0], event_shape=mean.shape), Independent(Normal(mean, scale), 1)
    )
    both = Squared(reduction="sum")(parts, torch.cat((point, point)))
    assert torch.allclose(both, 2 * (point - mean).square().sum() + scale.square().sum())
    assert Squared(reduction="sum")(delta(torch.zeros(1, 5)), torch.full((1, 5), 2.0)).item() == 20.0


def test_jensen_shannon_against_its_definition():
    torch.manual_seed(0)
    probabilities = torch.randn(50, 3, 6).mul(3).softmax(-1)
    point = torch.nn.functional.one_hot(torch.randint(0, 6, (50, 3)), 6).float()
    middle = (probabilities + point) / 2
    divergence = sum(torch.xlogy(p, p / middle).sum(-1) for p in (probabilities, point)) / 2
    assert torch.allclose(JensenShannon()(one_hot(probabilities.log()), point), divergence.mean(-1), atol=1e-6)


@pytest.mark.parametrize("cost", [CrossEntropy(), Hamming(), JensenShannon(), Likelihood(), Squared()])
def test_categorical_costs_at_certainty(cost):
    """Sure and right: nothing. Sure and wrong: the most that there is. The gradient is finite at both."""
    logits = torch.tensor([[[200.0, 0.0, 0.0]], [[0.0, 200.0, 0.0]]], requires_grad=True)
    point = torch.tensor([1.0, 0.0, 0.0]).expand(2, 1, 3).clone().requires_grad_()
    right, wrong = cost(one_hot(logits), point)
    assert right.abs() < 1e-6
    most = {JensenShannon: math.log(2), Hamming: 1.0, Squared: 2 / 3}.get(type(cost), 200.0)
    assert wrong.item() == pytest.approx(most, rel=1e-5)
    for gradient in torch.autograd.grad(right + wrong, (logits, point)):
        assert gradient.isfinite().all()


def test_jensen_shannon_gradient_against_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    point = torch.nn.functional.one_hot(torch.randint(0, 4, (2, 3)), 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: JensenShannon()(one_hot(a), b), (logits, point))


# ---------------------------------------------------------------------- proper scores


def test_likelihood_is_per_dimension():
    point = torch.tensor([[0.5, -1.0, 2.0, 0.0]])
    normal = Independent(Normal(torch.zeros(1, 4), torch.full((1, 4), 2.0)), 1)
    assert Likelihood()(normal, point).item() == pytest.approx(-norm.logpdf(point.numpy(), 0, 2).mean(), rel=1e-5)
    logits = torch.randn(2, 3, 4)
    target = torch.nn.functional.one_hot(torch.randint(0, 4, (2, 3)), 4).float()
    expected = -one_hot(logits).log_prob(target) / 3
    assert torch.allclose(Likelihood()(one_hot(logits), target), expected)


@pytest.mark.parametrize(
    "distribution",
    [
        delta(torch.zeros(2, 3)),
        SoftMixture(torch.zeros(2, 3), torch.ones(2, 4, 3), 1),
        SideBySide(delta(torch.zeros(2, 1)), Independent(Normal(torch.zeros(2, 2), torch.ones(2, 2)), 1)),
    ],
)
def test_likelihood_names_what_has_one(distribution):
    with pytest.raises(Unsuited, match=r"world_model\.cost=Likelihood: \w+ has no like.*world_model=normal.*true_mix"):
        Likelihood()(distribution, torch.zeros(2, 3))


def mixture(weights, means, scale):
    """A mixture over the whole vector: weights ``[K]``, means ``[K, D]``."""
    components = Independent(Normal(means, torch.full_like(means, scale)), 1)
    return MixtureSameFamily(Categorical(probs=weights), components)


def test_coupling_of_a_mixture_is_exact_and_linear_in_the_weights():
    torch.manual_seed(0)
    weights, means = torch.tensor([0.5, 0.2, 0.3], requires_grad=True), torch.randn(3, 4)
    distribution, point = mixture(weights, means, 0.7), torch.randn(4)
    each = torch.stack([coupling_distance(Independent(Normal(m, torch.full((4,), 0.7)), 1), point) for m in means])
    value = coupling_distance(distribution, point)
    assert value.item() == pytest.approx((weights * each).sum().item(), rel=1e-5)
    sampled = (distribution.sample((40000,)) - point).abs().sum(-1).mean()
    assert value.item() == pytest.approx(sampled.item(), rel=0.02)
    # Categorical normalizes, so the gradient is that of each less the mean.
    assert torch.allclose(torch.autograd.grad(value, weights)[0], each - value.detach(), atol=1e-5)


@pytest.mark.parametrize("cost", [EnergyScore(), EnergyScore(samples=3), SmoothL1(), Squared()])
def test_strata_estimate_what_samples_of_the_mixture_would(cost):
    torch.manual_seed(0)
    weights, means = torch.tensor([0.6, 0.3, 0.1]), 2 * torch.randn(3, 2)
    point, size = torch.randn(2), 20000
    many = mixture(weights.expand(size, 3), means.expand(size, 3, 2), 0.3)
    first, second = mixture(weights, means, 0.3).sample((2, size))
    if isinstance(cost, EnergyScore):
        expected = 2 * (first - point).norm(dim=-1).mean() - (first - second).norm(dim=-1).mean()
        expected = expected / math.sqrt(2)
    elif isinstance(cost, Squared):
        expected = (first - point).square().mean()
    else:
        expected = torch.nn.functional.smooth_l1_loss(first, point.expand(size, 2))
    assert cost(many, point.expand(size, 2)).mean().item() == pytest.approx(expected.item(), rel=0.03)


@pytest.mark.parametrize("cost", [EnergyScore(), Likelihood()])
def test_proper_scores_are_least_at_the_true_odds(cost):
    """A world of -1 (0.2) or +1 (0.8): the gradient to the weights vanishes at the odds and points there elsewhere."""
    torch.manual_seed(0)
    size = 4000
    world = torch.where(torch.arange(size) < 0.8 * size, 1.0, -1.0).unsqueeze(-1)
    slopes = []
    for odds in (0.6, 0.8, 0.95):
        weight = torch.tensor(odds, requires_grad=True)
        weights = torch.stack((1 - weight, weight)).expand(size, 2)
        loss = cost(mixture(weights, torch.tensor([[-1.0], [1.0]]).expand(size, 2, 1), 0.05), world).mean()
        slopes.append(torch.autograd.grad(loss, weight)[0].item())
    assert slopes[0] < -0.1 and abs(slopes[1]) < 0.05 and slopes[2] > 0.1


def test_no_sample_without_reparameterization():
    wrapped = torch.distributions.Poisson(torch.ones(2, 3))
    with pytest.raises(Unsuited, match=r"world_model\.cost: Independent has no reparameterized samples"):
        SmoothL1()(Independent(wrapped, 1), torch.zeros(2, 3))
