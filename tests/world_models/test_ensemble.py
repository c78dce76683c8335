"""An ensemble votes: equal mixture, means, and a disagreement that fades where the data are."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.nn.utils import parameters_to_vector
from torchrl.modules import Delta

from tests.world_models.support import ACTIONS, build, observation_spec, unseeded
from world_models.checks import Subject
from world_models.checks.learning import chain, update
from world_models.costs import coupling_distance
from world_models.distributions import Vote
from world_models.ensemble import Ensemble


def points(*places: float) -> Vote:
    return Vote([Delta(torch.tensor([[place, 0.0]]), batch_shape=(1,), event_shape=(2,)) for place in places])


def test_a_vote_of_points_by_hand() -> None:
    vote = points(0.0, 0.0, 3.0)
    torch.testing.assert_close(vote.mean, torch.tensor([[1.0, 0.0]]))
    assert vote.disagreement.item() == pytest.approx((1 + 1 + 2) / 3)
    assert points(2.0, 2.0).disagreement.item() == 0.0
    assert coupling_distance(vote, torch.tensor([[3.0, 1.0]])).item() == pytest.approx(2.0 + 1.0)
    torch.manual_seed(0)
    drawn = vote.sample((3000,))[:, 0, 0]
    assert set(drawn.tolist()) == {0.0, 3.0}
    assert (drawn == 3.0).float().mean().item() == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 3000))


def test_a_vote_has_the_density_of_a_mixture() -> None:
    members = [
        Independent(Normal(torch.full((4, 1), m), torch.full((4, 1), s)), 1) for m, s in ((-1.0, 0.5), (2.0, 1.0))
    ]
    vote = Vote(members)
    grid = torch.linspace(-8, 10, 4001).view(-1, 1, 1).expand(-1, 4, 1)
    density = vote.log_prob(grid).exp()
    torch.testing.assert_close(torch.trapezoid(density, grid[..., 0], dim=0), torch.ones(4), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.trapezoid(density * grid[..., 0], grid[..., 0], dim=0), vote.mean[:, 0], rtol=1e-4, atol=1e-4
    )
    spread = (grid[..., 0] - vote.mean[:, 0]).square()
    torch.testing.assert_close(
        torch.trapezoid(density * spread, grid[..., 0], dim=0), vote.variance[:, 0], rtol=1e-4, atol=1e-4
    )


def test_a_sample_is_one_member_s_with_its_gradient() -> None:
    locations = [torch.full((500, 3), float(k), requires_grad=True) for k in range(3)]
    vote = Vote([Independent(Normal(location, torch.full_like(location, 1e-3)), 1) for location in locations])
    torch.manual_seed(0)
    sample = vote.rsample()
    owner = sample.round()
    assert (owner == owner[:, :1]).all(), "one member for the whole latent"
    gradients = torch.autograd.grad(sample.sum(), locations)
    for index, gradient in enumerate(gradients):
        assert torch.equal(gradient[:, 0] == 1.0, owner[:, 0] == index)


def test_members_share_the_encoder_alone() -> None:
    model = build("ensemble", observation_spec("flat"), members=3)
    assert isinstance(model, Ensemble)
    single = build("deterministic", observation_spec("flat"))
    encoder = sum(p.numel() for p in single.encoder_parameters())
    rest = sum(p.numel() for p in single.model_parameters())
    assert sum(p.numel() for p in model.encoder_parameters()) == encoder
    assert sum(p.numel() for p in model.model_parameters()) == 3 * rest
    latent, action = model.encode(torch.randn(8, 4)), torch.randint(ACTIONS, (8,))
    members = [member.transition(latent, action).mean for member in model.members]
    torch.testing.assert_close(model.transition(latent, action).mean, torch.stack(members).mean(0))
    step = model.imagine(latent, action)
    assert (step.uncertainty > 0).all()
    distance = (step.next_latent - torch.stack(members)).abs().sum(-1).amin(0)
    torch.testing.assert_close(distance, torch.zeros(8), msg="each step is some member's")


def test_members_agree_where_the_data_are() -> None:
    """Trained on half of a line, an ensemble doubts what it imagines of the other half."""
    torch.manual_seed(0)
    model = build("ensemble", observation_spec("flat"), members=3)
    optimizer = torch.optim.Adam(model.model_parameters(), 1e-3)
    seen, unseen = torch.rand(256, 4), -4 * torch.rand(256, 4) - 1
    action = torch.randint(ACTIONS, (256,))
    with torch.no_grad():
        latent, strange = model.encode(seen), model.encode(unseen)
    for _ in range(300):
        target = latent.roll(1, -1)
        losses = model.local_losses(latent, action, seen[:, 0], target, seen[:, 1] > 2)
        optimizer.zero_grad()
        torch.stack([value.mean() for value in losses.values()]).sum().backward()
        optimizer.step()
    known, unknown = (model.imagine(z, action).uncertainty.mean() for z in (latent, strange))
    assert unknown > 3 * known


def of(member: str, *words: str) -> Ensemble:
    """Two of a model that the command line names."""
    choice = f"world_model@world_model.member={member}"
    model = build("ensemble", observation_spec("one_hot"), words=("world_model.members=2", choice, *words))
    assert isinstance(model, Ensemble)
    return model


def take_a_step(model: Ensemble) -> None:
    """Of one optimizer over everything, down the losses of a small world."""
    world = chain(Subject(partial(unseeded, "ensemble"), observation_spec("one_hot")))
    update(model, torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3), world)


@pytest.mark.parametrize("member", ["normal", "categorical", "rssm", "mixture"])
def test_of_any_world_model(member: str) -> None:
    """Built as the command line builds it, and a step moves encoder and members, which stay apart."""
    model = of(member)
    parts = [model.encoder_parameters, *(other.model_parameters for other in model.members)]
    before = [parameters_to_vector(part()) for part in parts]
    take_a_step(model)
    after = [parameters_to_vector(part()) for part in parts]
    assert not any(torch.equal(then, now) for then, now in zip(before, after, strict=True))
    assert not torch.equal(after[1], after[2])
    latent, action = model.encode(torch.eye(4)), torch.zeros(4, dtype=torch.long)
    step = model.imagine(latent, action)
    assert step.next_latent.shape == latent.shape and step.uncertainty.shape == (4,)


def test_slow_targets_follow_the_encoder_that_all_share() -> None:
    slow = "world_model.member.target._target_=world_models.targets.Slow"
    model = of("deterministic", slow, "+world_model.member.target.tau=1.0")  # at once, and all of the way
    before = parameters_to_vector(model.encoder.parameters())
    take_a_step(model)
    shared = parameters_to_vector(model.encoder.parameters())
    assert not torch.equal(shared, before)
    for other in model.members:
        torch.testing.assert_close(parameters_to_vector(other.target_choice.encoder.parameters()), shared)


def test_members_that_begin_alike_are_refused() -> None:
    """Tables begin without chance and learn the same: nothing would ever part them."""
    with pytest.raises(ValueError, match="TabularModel begin alike and never disagree"):
        of("tabular")


def test_one_is_no_ensemble() -> None:
    with pytest.raises(ValueError, match="members=1: at least 2"):
        build("ensemble", observation_spec("flat"), members=1)
