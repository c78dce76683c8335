"""A memory: what a walk through segments does is what one does step by step, and an episode begins without it."""

from __future__ import annotations

import pytest
import torch
from hydra.errors import InstantiationException
from tensordict import TensorDict
from torch import Tensor

from tests.world_models.support import ACTIONS, build, observation_spec, observations
from world_models.recurrent import RecurrentModel

SEGMENTS, LENGTH = 16, 5


@pytest.fixture(scope="module", params=["flat", "minatar"])
def model(request: pytest.FixtureRequest) -> RecurrentModel:
    built = build("rssm", observation_spec(request.param), deterministic=16, hidden=32, variables=3, classes=4)
    assert isinstance(built, RecurrentModel)
    return built


def segments(model: RecurrentModel) -> TensorDict:
    """Experience ``[S, L]`` with ends inside segments, and a memory as another policy may have left it."""
    torch.manual_seed(0)
    frames = observations(model.observation_spec, SEGMENTS, LENGTH + 1)
    done = torch.rand(SEGMENTS, LENGTH, 1) < 0.3
    assert done[:, :-1].any() and not done.all()
    last = observations(model.observation_spec, SEGMENTS, LENGTH)
    after = torch.where(done.view(SEGMENTS, LENGTH, *[1] * (last.ndim - 2)), last, frames[:, 1:])
    return TensorDict(
        {
            "observation": frames[:, :-1],
            "memory": torch.randn(SEGMENTS, LENGTH, *model.memory_spec.shape),
            "action": torch.randint(ACTIONS, (SEGMENTS, LENGTH)),
            "next": {"observation": after, "done": done, "terminated": done},
        },
        batch_size=(SEGMENTS, LENGTH),
    )


def step_by_step(model: RecurrentModel, data: TensorDict) -> tuple[Tensor, Tensor]:
    """Both latents of each step, with the memory that the present parameters leave."""
    latents, after = [], []
    memory = data["memory"][:, 0]
    for step in range(LENGTH):
        now = data[:, step]
        latents.append(model.encode(now["observation"], memory))
        memory = model.remember(latents[-1], now["action"])
        after.append(model.encode(now["next", "observation"], memory))
        memory = torch.where(now["next", "done"], torch.zeros_like(memory), memory)
    return torch.stack(latents, 1), torch.stack(after, 1)


def test_a_walk_is_step_by_step(model: RecurrentModel) -> None:
    data = segments(model)
    latents, after = step_by_step(model, data)
    believed = model.believe(data)
    torch.testing.assert_close(believed[0], latents)
    torch.testing.assert_close(believed[1], after)
    torch.testing.assert_close(model.latents(data), latents)


def test_only_the_first_memory_counts(model: RecurrentModel) -> None:
    data = segments(model)
    latents = model.latents(data)
    data["memory"][:, 1:] += 1.0
    assert torch.equal(model.latents(data), latents)
    data["memory"][:, 0] += 1.0
    assert not torch.equal(model.latents(data)[:, 0], latents[:, 0])


def test_an_episode_begins_without_memory(model: RecurrentModel) -> None:
    data = segments(model)
    begun = data["next", "done"][:, :-1, 0]
    latents = model.latents(data)[:, 1:][begun]
    torch.testing.assert_close(latents, model.encode(data["observation"][:, 1:][begun]))


def test_gradient_goes_back_through_time(model: RecurrentModel) -> None:
    """What the memory holds at the end depends on the latent at the beginning, unless an episode ended between."""
    data = segments(model)
    data["memory"] = data["memory"].requires_grad_()
    latents = model.latents(data)
    (gradient,) = torch.autograd.grad(latents[:, -1].square().sum(), data["memory"])
    crossed = data["next", "done"][:, :-1, 0].any(1)
    assert gradient[:, 0].flatten(1).abs().sum(1)[~crossed].min() > 0
    assert gradient[:, 0][crossed].abs().sum() == 0
    recurrence = dict(model.named_parameters())["encoder.cell.hidden_norm.weight"]
    assert torch.autograd.grad(model.latents(data)[:, -1].square().sum(), recurrence)[0].abs().sum() > 0


def test_a_dream_carries_the_memory_on(model: RecurrentModel) -> None:
    """The deterministic part of an imagined latent is what the model would remember."""
    data = segments(model)
    latent, action = model.latents(data), data["action"]
    step = model.imagine(latent, action)
    width = model.memory_spec.shape[0]
    torch.testing.assert_close(step.next_latent[..., :width], model.remember(latent, action))
    one_hots = step.next_latent[..., width:].unflatten(-1, (3, 4))
    assert torch.equal(one_hots.sum(-1), torch.ones(SEGMENTS, LENGTH, 3))


def test_decoding_learns_to_restore_what_was_seen(model: RecurrentModel) -> None:
    torch.manual_seed(0)
    observation = observations(model.observation_spec, 8)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        loss = model.representation_loss(model.encode(observation), observation)
        assert loss.shape == (8,)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        losses.append(float(loss.mean().detach()))
    decoded = model.decode(model.encode(observation))
    assert decoded is not None and decoded.shape == observation.shape
    assert losses[-1] < 0.3 * losses[0]
    start = (observation.float() - observation.float().mean(0)).abs().mean()
    assert (decoded - observation.float()).abs().mean() < 0.5 * start


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"deterministic": 12}, "deterministic=12: must be a multiple of 8"),
        ({"classes": 1}, "classes=1"),
        ({"unimix": 1.0}, "unimix=1.0"),
        ({"cost": {"free": -1.0}}, "cost.free=-1.0"),
        ({"decoder": {"weight": 0.0}}, "decoder: weight=0.0"),
        ({"hidden": 0}, "world_model.hidden=0: must be at least 1"),
        ({"target": {"_target_": "world_models.targets.Slow"}}, "target=Slow: .* memory.* Allowed: Gradient, StopGrad"),
    ],
)
def test_wrong_settings(overrides: dict, message: str) -> None:
    with pytest.raises((ValueError, InstantiationException), match=message):  # Hydra wraps what a part raises
        build("rssm", observation_spec("flat"), **overrides)
