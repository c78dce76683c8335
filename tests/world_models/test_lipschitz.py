"""The Lipschitz constants are guaranteed: measured on layers, on true operators and on whole networks."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.world_models.support import ACTIONS, build, observation_spec
from world_models.checks.subject import disturb
from world_models.lipschitz import (
    GroupSort2,
    LipschitzConv2d,
    LipschitzHeads,
    LipschitzLinear,
    conv_bound,
    gram_bound,
)

SLACK = 1e-4


def true_norm(matrix):
    return torch.linalg.matrix_norm(matrix.detach().double(), ord=2)


def operator_matrix(layer, channels, height, width):
    """The dense matrix of a convolution: its linear part applied to the identity basis."""
    basis = torch.eye(channels * height * width).reshape(-1, channels, height, width)
    with torch.no_grad():
        return (layer(basis) - layer(torch.zeros_like(basis[:1]))).flatten(1).T


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    decay=st.floats(0.0, 3.0),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 10**6),
)
def test_gram_bound_is_an_upper_bound_and_tight(rows, columns, decay, scale, seed):
    torch.manual_seed(seed)
    spectrum = torch.arange(1, columns + 1).pow(-decay)
    matrix = scale * torch.randn(rows, columns) * spectrum
    ratio = gram_bound(matrix).double() / true_norm(matrix)
    assert 1.0 <= ratio <= min(rows, columns) ** (1 / 130) * (1 + 1e-4)


def test_gram_bound_at_equal_singular_values_and_zero():
    orthogonal = torch.linalg.qr(torch.randn(64, 64)).Q
    assert 1.0 <= gram_bound(orthogonal) <= 1.033
    assert gram_bound(torch.zeros(5, 5)) < 1e-6


def test_gram_bound_gradient_is_exact():
    torch.manual_seed(0)
    for shape in ((3, 5), (5, 3), (2, 4, 4)):
        matrix = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda m: gram_bound(m, 2), (matrix,), atol=1e-4, rtol=1e-3)
    matrix = torch.randn(2, 3, 3, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: gram_bound(m, 2), (matrix,), atol=1e-4, rtol=1e-3)


def test_normalized_layers_have_norm_one_not_its_square():
    """Whatever the raw scale: power iteration without renormalizing gave 0.82 and 2.7 in others' code."""
    for scale in (0.1, 1.0, 7.0):
        torch.manual_seed(1)
        linear, heads = LipschitzLinear(30, 40), LipschitzHeads(30, 4, 50)
        with torch.no_grad():
            linear.weight.normal_(std=scale)
            heads.weight.normal_(std=scale)
        assert 0.95 <= true_norm(linear.normalized()) <= 1
        for weight in heads.normalized():
            assert 0.95 <= true_norm(weight) <= 1


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(("height", "width", "kernel"), [(7, 7, 2), (3, 5, 2), (4, 4, 3), (1, 1, 2)])
def test_convolution_against_the_true_operator(height, width, kernel, before):
    for seed in range(4):
        torch.manual_seed(seed)
        layer = LipschitzConv2d(6, 4, height, width, kernel, before)
        with torch.no_grad():
            layer.weight.normal_(std=2.0)
            layer.bias.normal_()
        norm = true_norm(operator_matrix(layer, 6, height, width))
        assert norm <= 1
        if min(height, width) > 1:
            assert norm >= 0.75


def test_convolution_bound_exceeds_the_reshaped_kernel_when_it_must():
    """A constant kernel has reshaped norm 2 and true norm close to 4: the reshaped one is no bound."""
    kernel = torch.ones(1, 1, 2, 2)
    assert true_norm(kernel.reshape(1, -1)) == 2
    assert 3.8 < conv_bound(kernel, 7, 7) < 4.2


def test_group_sort_permutes_and_keeps_norms():
    features = torch.randn(5, 8, 3)
    result = GroupSort2(dim=1)(features)
    assert torch.equal(result.sort(1).values, features.sort(1).values)
    assert (result[:, :4] <= result[:, 4:]).all()


def test_cache_follows_the_weight():
    layer = LipschitzLinear(4, 4)
    optimizer = torch.optim.Adam(layer.parameters(), 0.5)
    for _ in range(3):
        with torch.no_grad():
            before = layer.normalized()
            assert layer.normalized() is before
        layer(torch.randn(3, 4)).square().sum().backward()
        optimizer.step()
        with torch.no_grad():
            assert not torch.equal(layer.normalized(), before)
            assert torch.equal(layer.normalized(), layer._divide())
    other = {key: torch.randn_like(value) for key, value in layer.state_dict().items()}
    layer.load_state_dict(other)
    with torch.no_grad():
        assert torch.equal(layer.normalized(), layer._divide())
    twin = copy.deepcopy(layer)
    assert twin._cache is None


def test_one_graph_also_where_there_is_a_cache():
    layer = LipschitzLinear(4, 4)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    with torch.no_grad():
        expected = layer(torch.ones(3, 4))
        for _ in range(2):
            assert torch.equal(compiled(torch.ones(3, 4)), expected)
    torch._dynamo.reset()


def _worst_ratio(function, shape, steps=25, pairs=12):
    """Largest ``|f(x) - f(y)| / |x - y|`` over random pairs, near and far, improved by gradient ascent."""
    first = 3 * torch.randn(pairs, *shape)
    second = first + torch.randn_like(first) * torch.logspace(-2, 1, pairs).reshape(-1, *[1] * len(shape))
    points = nn.ParameterList([first, second])
    optimizer = torch.optim.Adam(points.parameters(), 0.05)
    worst = 0.0
    for _ in range(steps):
        moved = (function(points[0]) - function(points[1])).flatten(1).norm(dim=1)
        ratio = moved / (points[0] - points[1]).flatten(1).norm(dim=1)
        worst = max(worst, ratio.max().item())
        optimizer.zero_grad()
        (-ratio.sum()).backward()
        optimizer.step()
    return worst


@pytest.mark.parametrize("kind", ["image", "flat"])
@pytest.mark.parametrize("name", ["mixture", "mixture_paper"])
def test_the_constant_holds_for_any_fixed_noise(name, kind):
    """More than the contract asks: not the distributions alone, but samples of the same noise stay together."""
    for seed in range(2):
        model = disturb(build(name, observation_spec(kind), seed), seed).requires_grad_(False)

        def sample(latent, noise_seed=seed, model=model):
            torch.manual_seed(noise_seed)  # the same noise for both ends of the pair
            return model.transition(latent, torch.arange(len(latent)) % ACTIONS).rsample()

        steps = 6 if kind == "image" else 25
        assert _worst_ratio(sample, model.latent_spec.shape, steps) <= model.transition_lipschitz + SLACK


@pytest.mark.parametrize("model_name", ["deterministic", "normal", "mixture"])
@pytest.mark.parametrize("network", ["LipschitzNetwork", "PaperLipschitzNetwork"])
def test_jacobian_norm_of_every_model_with_a_lipschitz_network(model_name, network):
    target = f"world_models.transition.{network}"
    spec = observation_spec("flat")
    model = disturb(build(model_name, spec, network={"_target_": target, "hidden": 32}), 5).requires_grad_(False)
    assert model.transition_lipschitz == 1.0
    largest = 0.0
    for point in 4 * torch.randn(20, *model.latent_spec.shape):

        def sample(latent):
            torch.manual_seed(0)
            return model.transition(latent, torch.tensor(1)).mean

        jacobian = torch.autograd.functional.jacobian(sample, point)
        largest = max(largest, float(true_norm(jacobian)))
    assert 0.05 < largest <= 1 + SLACK


def test_plain_networks_claim_nothing():
    for name in ("deterministic", "normal", "categorical"):
        model = build(name, observation_spec("flat"))
        assert model.transition_lipschitz is None and model.reward_lipschitz is None
    paper = build("mixture_paper", observation_spec("flat"))
    assert paper.transition_lipschitz == 1.0 and paper.reward_lipschitz == 1.0
