"""Optimizers, schedules, and the stop at numbers that are not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from planners.agent import Agent
from planners.optimization import Adam, NotFinite, Optimizers
from planners.schedules import SHAPES, Schedule
from planners.utility import Advantage
from tests.planners import dream_phase, ground_phase


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_rate_falls_linearly_and_is_never_negative(progress: float, final: float) -> None:
    rate = Adam(roles=("heads",), lr=0.5, final_lr=final).rate(progress)
    assert 0.0 <= rate <= 0.5
    assert rate == pytest.approx(0.5 * (1 - (1 - final) * progress))


def test_the_rate_ends_at_the_end_of_training_whatever_the_number_of_steps(agent: Agent) -> None:
    optimizers = Optimizers(agent, {"x": Adam(roles=("heads",), lr=1.0)}, "ground")
    for _ in range(50):  # many more optimizer steps than iterations
        optimizers.step(TensorDict({"loss_x": agent.heads.actor.weight.square().sum()}))
    optimizers.set_progress(0.5)
    assert optimizers.optimizers["x"].param_groups[0]["lr"] == 0.5


class Phase(NamedTuple):
    """A phase of one update, and what runs it at a progress."""

    optimizers: Optimizers
    run: Callable[[float], object]


@pytest.fixture(params=["ground", "dream"])
def phase(request: pytest.FixtureRequest, agent: Agent) -> Phase:
    if request.param == "ground":
        ground = ground_phase.make(agent, Advantage(), ("encoder", "heads"), epochs=1, minibatches=1)
        return Phase(ground.optimizers, partial(ground.run, ground_phase.with_advantages(agent)))
    dream = dream_phase.make(agent, repeats=1, minibatches=1)
    return Phase(dream.optimizers, lambda progress: dream_phase.run(dream, agent, progress=progress))


def test_a_phase_has_the_rate_of_its_progress(phase: Phase) -> None:
    phase.run(0.5)
    assert [optimizer.param_groups[0]["lr"] for optimizer in phase.optimizers.optimizers.values()] == [0.5e-2]


def test_a_phase_never_leaves_a_parameter_that_is_not_finite(
    agent: Agent, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the last step of all went too far: no loss would tell any more."""
    step = phase.optimizers.step

    def poisoned(losses: TensorDict) -> None:
        step(losses)
        agent.heads.critic.bias.data.fill_(torch.nan)

    monkeypatch.setattr(phase.optimizers, "step", poisoned)
    with pytest.raises(NotFinite, match=rf"a parameter of the heads after the {phase.optimizers.phase} phase"):
        phase.run(0.0)


def test_an_exponential_rise_by_hand() -> None:
    """With the rate ln 16, ``(sqrt(16) - 1) / (16 - 1)`` of the way half-way."""
    assert Schedule("exponential", rate=math.log(16.0))(0.5) == pytest.approx(0.2)
    assert Schedule("exponential", start=0.2, final=3.0, rate=math.log(16.0))(0.6) == pytest.approx(0.6)


@given(st.floats(0.0, 1.0))
def test_schedules(progress: float) -> None:
    assert Schedule("constant", final=0.3)(progress) == 0.3
    assert Schedule("linear", final=2.0)(progress) == 2.0 * progress
    rise = Schedule("exponential", rate=5.0)
    assert rise(0.0) == 0.0 and rise(1.0) == pytest.approx(1.0)
    assert rise(progress) <= progress + 1e-12
    for shape in SHAPES:
        late = Schedule(shape, start=0.5, final=0.7)
        assert late(1.0) == pytest.approx(0.7)
        assert late(progress) == (0.0 if progress < 0.5 else 0.7 * Schedule(shape)(2 * progress - 1))


@pytest.mark.parametrize("wrong", [{"shape": "steps"}, {"start": 1.0}, {"final": -1.0}, {"rate": 0.0}])
def test_wrong_schedules(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"planner.dream.beta.{next(iter(wrong))}="):
        Schedule(**wrong)


def test_a_loss_that_is_not_finite_stops_before_anything_moves(agent: Agent) -> None:
    optimizers = Optimizers(agent, {"x": Adam(roles=("heads",), lr=1.0)}, "ground")
    before = agent.heads.actor.weight.clone()
    optimizers.step(TensorDict({"loss_value": agent.heads.actor.weight.sum() / 0.0, "loss_x": before.sum() * 0.0}))
    assert torch.equal(agent.heads.actor.weight, before)
    with pytest.raises(NotFinite, match="^ground/loss_value is not finite"):
        optimizers.check()


def test_a_gradient_that_is_not_finite_stops_before_anything_moves(agent: Agent) -> None:
    optimizers = Optimizers(agent, {"policy": Adam(roles=("heads",), lr=1.0)}, "dream")
    with torch.no_grad():
        agent.heads.actor.bias.zero_()
    optimizers.step(TensorDict({"loss_x": agent.heads.actor.bias.sqrt().sum()}))
    assert torch.equal(agent.heads.actor.bias, torch.zeros(3))
    with pytest.raises(NotFinite, match=r"^the gradient of dream\.policy \(heads\) is not finite"):
        optimizers.check()


@pytest.mark.parametrize(("size", "clipped"), [(0.01, False), (30.0, True)])
def test_a_gradient_is_clipped_as_torch_clips_it(agent: Agent, size: float, clipped: bool) -> None:
    """Twin parameters, stepped by torch's own ``clip_grad_norm_`` and Adam."""
    adam = Adam(roles=("heads",), lr=0.1, eps=0.5, max_grad_norm=0.5)  # with so large an eps sizes matter
    optimizers = Optimizers(agent, {"x": adam}, "ground")
    twins = [p.detach().clone().requires_grad_() for p in agent.heads.parameters()]
    theirs = torch.optim.Adam(twins, lr=adam.lr, eps=adam.eps)
    for _ in range(3):
        optimizers.step(TensorDict({"loss_x": sum(size * p.square().sum() for p in agent.heads.parameters())}))
        theirs.zero_grad()
        torch.stack([size * p.square().sum() for p in twins]).sum().backward()
        assert (torch.nn.utils.clip_grad_norm_(twins, adam.max_grad_norm) > adam.max_grad_norm) == clipped
        theirs.step()
    for mine, twin in zip(agent.heads.parameters(), twins, strict=True):
        torch.testing.assert_close(mine, twin)


def test_one_broken_gradient_holds_all_back_for_that_step(agent: Agent) -> None:
    """And leaves no trace in what follows: Adam goes on as if it had not been."""
    settings = {"policy": Adam(roles=("heads",), lr=0.1), "model": Adam(roles=("model",), lr=0.1)}
    weight, model = agent.heads.actor.weight, next(agent.parameters_of("model"))
    start = copy.deepcopy(agent.state_dict())

    def good() -> TensorDict:
        return TensorDict({"loss_x": weight.square().sum(), "loss_y": model.square().sum()})

    ends = []
    for broken in (False, True):
        agent.load_state_dict(start)
        optimizers = Optimizers(agent, settings, "ground")
        optimizers.step(good())
        if broken:
            before = weight.clone(), model.clone()
            optimizers.step(
                TensorDict({"loss_x": weight.square().sum(), "loss_y": (model - model.detach()).norm() / 0.0})
            )
            assert torch.equal(weight, before[0]) and torch.equal(model, before[1])
        optimizers.step(good())
        ends.append((weight.clone(), model.clone()))
    assert torch.equal(ends[0][0], ends[1][0]) and torch.equal(ends[0][1], ends[1][1])
    assert not torch.equal(ends[0][0], start["heads.actor.weight"])
    with pytest.raises(NotFinite):
        optimizers.check()


def test_an_optimizer_without_gradients_stays_where_it_is(agent: Agent) -> None:
    settings = {"policy": Adam(roles=("heads",), lr=0.1), "model": Adam(roles=("model",), lr=0.1)}
    optimizers = Optimizers(agent, settings, "ground")
    before = [p.clone() for p in agent.parameters_of("model")]
    optimizers.step(TensorDict({"loss_x": agent.heads.actor.weight.square().sum()}))
    optimizers.check()
    assert all(map(torch.equal, before, agent.parameters_of("model")))


def test_each_phase_is_judged_by_itself(agent: Agent) -> None:
    """Also after one that was left before its ``check``."""
    optimizers = Optimizers(agent, {"x": Adam(roles=("heads",), lr=1.0)}, "ground")
    for left in (False, True):
        optimizers.step(TensorDict({"loss_x": agent.heads.actor.weight.sum() / 0.0}))
        if not left:
            with pytest.raises(NotFinite):
                optimizers.check()
        optimizers.set_progress(0.0)
        optimizers.step(TensorDict({"loss_y": agent.heads.actor.weight.square().sum()}))
        optimizers.check()


def test_none_takes_an_optimizer_out(agent: Agent) -> None:
    optimizers = Optimizers(agent, {"a": Adam(roles=("heads",), lr=1.0), "b": None}, "ground")
    assert optimizers.roles == {"heads"} and set(optimizers.optimizers) == {"a"}


def test_a_role_is_trained_once(agent: Agent) -> None:
    twice = {"a": Adam(roles=("heads",), lr=1.0), "b": Adam(roles=("heads", "model"), lr=1.0)}
    with pytest.raises(ValueError, match="trains a role twice"):
        Optimizers(agent, twice, "ground")


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"lr": 1.0, "final_lr": 2.0}, {"lr": 1.0, "roles": ("actor",)}])
def test_wrong_settings(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"above 0|from 0 to 1|Allowed: encoder"):
        Adam(**({"roles": ("heads",)} | wrong))
