"""The learned discrepancy against distances that are known exactly, and its own optimizer."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, OneHotCategoricalStraightThrough
from torchrl.modules import Delta

from dreamspi.training import Training
from tests.runner.support import configured
from tests.world_models.support import ACTIONS, build, observation_spec
from world_models.discrepancy import TotalVariation, Wasserstein

SIZE = 128


def learnt(cost, shape, draw, distribution, calls):
    """The mean difference on held-out samples, after ``calls`` rounds of ascent with a falling learning rate.

    The transition is the same for all: ``draw(n)`` are next latents ``[n, *shape]`` of the world.
    """
    torch.manual_seed(0)
    cost.build(shape, ACTIONS)
    for call in range(calls):
        cost.optimizer.param_groups[0]["lr"] = cost.lr * (1 - call / calls)
        evaluate(cost, shape, draw(SIZE), distribution)
    cost.eval()
    held_out = draw(40000)
    return evaluate(cost, shape, held_out, distribution).mean().item()


def evaluate(cost, shape, world, distribution):
    count = len(world)
    return cost.of_transition(torch.zeros(count, *shape), torch.zeros(count).long(), distribution(count), world)


def two_points(first, second, odds):
    """``first`` with probability ``odds``, else ``second``: as samples, and as a model's (narrow) mixture."""
    points = torch.stack((first, second))
    weights = torch.tensor([odds, 1 - odds])

    def model(count):
        components = Independent(Normal(points.expand(count, *points.shape), 1e-3), 1)
        return MixtureSameFamily(Categorical(weights.expand(count, 2)), components)

    return lambda count: points[torch.multinomial(weights, count, replacement=True)], model


def test_wasserstein_of_two_points_is_reached_and_not_exceeded():
    """Between odds 0.8 and 0.3 of the same two points half of the mass moves all the way, exactly."""
    first, second = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([-1.0, 0.0, 0.5])
    world, model = two_points(first, second, 0.8)[0], two_points(first, second, 0.3)[1]
    exact = 0.5 * (first - second).norm().item() / 3**0.5
    value = learnt(Wasserstein(lr=3e-3), (3,), world, model, 150)
    assert 0.95 * exact < value < 1.02 * exact


def test_wasserstein_to_a_point_is_the_mean_distance():
    first, second = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    world = two_points(first, second, 0.8)[0]
    value = learnt(
        Wasserstein(lr=3e-3), (2,), world, lambda n: Delta(torch.zeros(n, 2), batch_shape=(n,), event_shape=(2,)), 150
    )
    exact = (0.8 * 3 + 0.2 * 4) / 2**0.5
    assert 0.93 * exact < value < 1.02 * exact


def test_wasserstein_of_equal_distributions_is_nothing():
    world, model = two_points(torch.ones(2), -torch.ones(2), 0.5)
    assert abs(learnt(Wasserstein(), (2,), world, model, 60)) < 0.05


def one_hots(probabilities):
    probabilities = torch.tensor(probabilities)
    count = probabilities.shape[-1]

    def draw(size):
        chosen = [torch.multinomial(row, size, replacement=True) for row in probabilities]
        return F.one_hot(torch.stack(chosen, -1), count).float()

    def model(size):
        one_hot = OneHotCategoricalStraightThrough(probabilities.expand(size, *probabilities.shape))
        return Independent(one_hot, 1)

    return draw, model


def test_total_variation_is_reached_and_not_exceeded():
    world, model = one_hots([[0.8, 0.2, 0.0]])[0], one_hots([[0.5, 0.3, 0.2]])[1]
    value = learnt(TotalVariation(lr=1e-2), (1, 3), world, model, 200)
    assert 0.28 < value < 0.31


def test_total_variation_sees_how_variables_depend():
    """Two equal fair coins against two independent ones: each alone looks right, together they differ by 1/2."""

    def coins(count):
        return F.one_hot(torch.randint(0, 2, (count, 1)).expand(-1, 2), 2).float()

    value = learnt(TotalVariation(lr=1e-2), (2, 2), coins, one_hots([[0.5, 0.5], [0.5, 0.5]])[1], 200)
    assert 0.46 < value < 0.52


def transition(model, count=8):
    latent, action = model.encode(torch.randn(count, 4)), torch.randint(0, ACTIONS, (count,))
    return latent, action, model.transition(latent, action), model.encode(torch.randn(count, 4)).detach()


MODELS = [("normal", "Wasserstein"), ("true_mixture", "Wasserstein"), ("categorical", "TotalVariation")]


def built(name, cost):
    return build(name, observation_spec("flat"), cost={"_target_": f"world_models.discrepancy.{cost}"})


def moments(cost):
    return [value for state in cost.optimizer.state_dict()["state"].values() for value in state.values()]


@pytest.mark.parametrize(("name", "cost"), MODELS)
def test_it_trains_itself_and_nothing_else_trains_it(name, cost):
    model = built(name, cost)
    own = list(model.cost.discriminator.parameters())
    assert not {id(p) for p in own} & {id(p) for p in [*model.model_parameters(), *model.encoder_parameters()]}
    before = [p.clone() for p in own]
    with torch.no_grad():
        model.cost.of_transition(*transition(model))
    assert all(torch.equal(p, q) for p, q in zip(own, before, strict=True)), "moved without gradient"
    loss = model.cost.of_transition(*transition(model)).mean()
    assert any(not torch.equal(p, q) for p, q in zip(own, before, strict=True))
    again = model.cost.of_transition(*transition(model)).mean()  # as a rehearsal does, before the backward pass
    (loss + again).backward()
    assert all(p.grad is None and not p.requires_grad for p in own)
    assert all(p.grad.abs().sum() > 0 for p in model.network.parameters())
    if name == "true_mixture":
        assert model.weights.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "cost"), MODELS)
def test_checkpoints_and_copies_go_on_alike(name, cost):
    """A copy, and a state that went through a file of tensors, ascend from the same parameters and moments."""
    model = built(name, cost)
    model.cost.of_transition(*transition(model))
    content = io.BytesIO()
    torch.save(model.state_dict(), content)
    content.seek(0)
    restored = built(name, cost)
    restored.load_state_dict(torch.load(content, weights_only=True))
    copied = copy.deepcopy(model)
    assert all(torch.equal(a, b) for a, b in zip(moments(model.cost), moments(restored.cost), strict=True))
    values = []
    for each in (copied, restored, model):  # were the copy's optimizer the model's own, the last would differ
        torch.manual_seed(5)
        values.append(each.cost.of_transition(*transition(each)))
    assert torch.equal(values[0], values[2]) and torch.equal(values[1], values[2])
    for first, second in zip(copied.parameters(), model.parameters(), strict=True):
        assert torch.equal(first, second) and first is not second


def test_descending_on_it_finds_mean_and_spread():
    """A normal that follows the gradient of the learnt distance to a wide normal ends near it."""
    torch.manual_seed(0)
    cost = Wasserstein(updates=4, lr=3e-3, hidden=32)
    cost.build((1,), ACTIONS)
    mean, raw = torch.tensor([2.0], requires_grad=True), torch.tensor([-2.0], requires_grad=True)
    optimizer = torch.optim.Adam([mean, raw], 0.02)
    track = []
    for _ in range(400):
        distribution = Independent(Normal(mean.expand(SIZE, 1), F.softplus(raw).expand(SIZE, 1)), 1)
        loss = evaluate(cost, (1,), torch.randn(SIZE, 1), lambda _, d=distribution: d).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        track.append((mean.item(), F.softplus(raw).item()))
    found = torch.tensor(track[-100:]).mean(0)
    assert abs(found[0]) < 0.2 and abs(found[1] - 1) < 0.25


@pytest.mark.parametrize("planner", ["dreamspi", "deepspi", "deepmdp"])
@pytest.mark.parametrize(("name", "cost"), MODELS)
def test_planners_train_with_it(planner, name, cost, tmp_path):
    target = f"world_model.cost._target_=world_models.discrepancy.{cost}"
    words = [f"planner={planner}", f"world_model={name}", target, "env.max_steps=6", "log_every=1"]
    training = Training(configured(tmp_path, *words))
    training.start()
    discriminator = training.planner.agent.world_model.cost.discriminator
    before = [parameter.clone() for parameter in discriminator.parameters()]
    row = training.iterate()
    assert all(math.isfinite(value) for value in row.values())
    after = discriminator.parameters()
    assert any(not torch.equal(first, second) for first, second in zip(before, after, strict=True))
    training.close()


@pytest.mark.parametrize("wrong", [{"updates": 0}, {"lr": 0.0}, {"hidden": 7}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"world_model\.cost\.{next(iter(wrong))}={next(iter(wrong.values()))}"):
        Wasserstein(**wrong)
