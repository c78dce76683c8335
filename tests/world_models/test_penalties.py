"""Gradient penalties: closed form on a linear network, finite differences, and that training with one flattens."""

from __future__ import annotations

import pytest
import torch

from tests.world_models.support import ACTIONS, build, observation_spec
from world_models.heads import ScalarReward
from world_models.penalties import GradientPenalty, UnitGradientPenalty

PENALTIES = [GradientPenalty, UnitGradientPenalty]


def linear(outputs):
    torch.manual_seed(0)
    return torch.randn(outputs, 6, dtype=torch.float64, requires_grad=True)


def test_on_a_scalar_it_is_the_closed_form():
    matrix, latent = linear(1), torch.randn(3, 4, 6, dtype=torch.float64)
    norm = matrix.norm()
    for penalty, expected in ((GradientPenalty(0.3), norm**2), (UnitGradientPenalty(0.3), (norm - 1) ** 2)):
        value = penalty(lambda z: (z @ matrix.T).squeeze(-1), latent, 1)
        assert value.shape == (3, 4)
        assert torch.allclose(value, 0.3 * expected.expand(3, 4))
        gradient = torch.autograd.grad(value.mean(), matrix)[0]
        assert torch.allclose(gradient, torch.autograd.grad(0.3 * expected, matrix, retain_graph=True)[0])


def test_on_a_vector_it_is_unbiased_for_the_mean_squared_gradient():
    matrix, latent = linear(5), torch.zeros(40000, 2, 3, dtype=torch.float64)
    value = GradientPenalty(1.0)(lambda z: z.flatten(1) @ matrix.T, latent, 2)
    assert value.mean().item() == pytest.approx((matrix.norm() ** 2 / 5).item(), rel=0.02)
    unit = UnitGradientPenalty(1.0)(lambda z: 1.0 * z, latent, 2)  # the slope of z itself is 1 in every direction
    assert torch.allclose(unit, torch.zeros_like(unit), atol=1e-10)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_against_finite_differences(penalty):
    weight, latent = linear(4), torch.randn(5, 6, dtype=torch.float64)

    def value(weight):
        torch.manual_seed(1)  # the same directions each time
        return penalty(1.0)(lambda z: torch.tanh(z @ weight.T), latent, 1)

    assert torch.autograd.gradcheck(value, (weight,))


UNORDERED = {"network": {"_target_": "world_models.token_networks.TransformerNetwork"}}
MODELS = [(name, {}) for name in ("deterministic", "normal", "mixture", "true_mixture", "categorical")]
MODELS += [("transformer", {}), ("transformer", UNORDERED), ("soft_moe", {})]


@pytest.mark.parametrize(("name", "parts"), MODELS)
def test_every_model_takes_one_in_training_alone(name, parts):
    model = build(name, observation_spec("flat"), penalty=penalty(0.5), **parts)
    plain = build(name, observation_spec("flat"), **parts)
    latent = model.encode(torch.randn(4, 4)).detach()
    batch = (latent, torch.randint(0, ACTIONS, (4,)), torch.randn(4), latent.roll(1, 0), torch.zeros(4).bool())

    def losses(model):
        torch.manual_seed(2)  # the penalty draws after the cost, so that the cost's own samples are the same
        return model.local_losses(*batch)

    more = losses(model)["transition"] - losses(plain)["transition"]
    assert (more > 0).all() and more.shape == (4,)
    more.sum().backward()  # through the gradient that a penalty is made of
    gradients = [p.grad for p in model.network.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():
        assert torch.equal(losses(model)["transition"], losses(plain)["transition"])


def penalty(weight, kind="GradientPenalty"):
    return {"_target_": f"world_models.penalties.{kind}", "weight": weight}


def test_the_default_is_none():
    none = build("deterministic", observation_spec("flat")).penalty
    assert torch.equal(none(torch.sin, torch.randn(3, 2, 6), 1), torch.zeros(3, 2)) and none.weight == 0


def slopes(**overrides):
    """Largest Jacobian norms of transition and reward over the batch, after learning a steep function."""
    model = build("deterministic", observation_spec("flat"), **overrides)
    model.reward_head = ScalarReward(model.latent_spec.shape, ACTIONS, hidden=32)
    latent, action = torch.randn(64, *model.latent_spec.shape), torch.randint(0, ACTIONS, (64,))
    goal, reward, ended = 3 * latent.roll(1, 1).sin(), latent.sum(-1), torch.zeros(64).bool()
    optimizer = torch.optim.Adam(model.model_parameters(), 3e-3)
    for _ in range(150):
        losses = model.local_losses(latent, action, reward, goal, ended)
        optimizer.zero_grad()
        (losses["transition"] + losses["reward"]).mean().backward()
        optimizer.step()

    def largest(function):
        def norm(point, act):
            jacobian = torch.autograd.functional.jacobian(lambda z: function(z, act).reshape(-1), point)
            return torch.linalg.matrix_norm(jacobian, ord=2).item()

        return max(norm(point, act) for point, act in zip(latent[:16], action[:16], strict=True))

    return largest(lambda z, act: model.transition(z, act).mean), largest(model.reward)


def test_training_with_a_penalty_lowers_the_lipschitz_constant():
    free = slopes()
    held = slopes(penalty=penalty(1.0))
    assert held[0] < 0.7 * free[0] and held[1] < 0.7 * free[1]


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"world_model\.penalty\.weight=-1.*at least 0"):
        GradientPenalty(-1)
