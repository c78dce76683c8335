"""Guards: nothing leaves the neighborhood, what is taken back is the least that must be, and the model learns on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from planners import guards
from planners.agent import Agent
from planners.guards import CHOICES, Project, build_neighborhood
from planners.neighborhood import excess, measure
from planners.optimization import Adam, Optimizers
from tests.planners.linear_model import experience
from tests.planners.training import started

C = 1.1


@pytest.fixture(autouse=True)
def decided(agent: Agent) -> None:
    """A new actor is nearly uniform, whatever its latents: with larger weights a moved encoder counts."""
    with torch.no_grad():
        agent.heads.actor.weight.mul_(100.0)


def optimizers(agent: Agent, *roles: str, lr: float = 0.05) -> Optimizers:
    return Optimizers(agent, {"only": Adam(roles=roles, lr=lr)}, "ground")


def disturb(agent: Agent, towards: Tensor) -> TensorDict:
    """A loss that draws the policy towards one action everywhere, and the model along."""
    latent = agent.world_model.encode(towards)
    return TensorDict(
        {
            "loss_policy": agent.heads(latent).logits[:, 0].mean(),
            "loss_model": agent.world_model.reward(latent, torch.zeros(len(latent), dtype=torch.long)).mean(),
        }
    )


def test_excess_is_one_on_the_border() -> None:
    behavior = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    for other, expected in ([0.5, 0.5], 0.0), ([0.525, 0.475], 0.5), ([0.55, 0.45], 1.0), ([0.6, 0.4], 2.0):
        policy = torch.tensor([other], dtype=torch.float64)
        assert excess(behavior.log(), policy.log(), C) == pytest.approx(expected)


def test_stop_undoes_the_step_that_left_and_ends_the_phase(agent: Agent) -> None:
    data = experience(agent)
    batch = data["observation"].flatten(0, 1)
    policy = partial(agent.log_policy, data)
    phase = optimizers(agent, "encoder", "model", "heads")
    watch = build_neighborhood("stop", C, 1.0).watch(policy, policy(), phase)
    before: tuple[dict, dict] = ({}, {})
    steps = 0
    while True:
        before = copy.deepcopy((agent.state_dict(), phase.state_dict()))
        phase.step(disturb(agent, batch))
        if not watch.step():
            break
        steps += 1
        assert steps < 100, "a policy that is drawn away must leave at some time"
    assert watch.close() == {"updates": float(steps)}
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[0][name]), name
    after = phase.state_dict()["only"]["state"]
    for index, state in before[1]["only"]["state"].items():
        for key, value in state.items():
            assert torch.equal(after[index][key], value), f"moment {key} of parameter {index} was not undone"


@pytest.mark.parametrize("roles", [("encoder",), ("heads",), ("encoder", "heads"), ("encoder", "model", "heads")])
def test_project_takes_the_smallest_step_back(agent: Agent, roles: tuple[str, ...]) -> None:
    data = experience(agent)
    batch = data["observation"].flatten(0, 1)
    policy = partial(agent.log_policy, data)
    reference, phase = policy(), optimizers(agent, *roles, lr=0.003)
    start = copy.deepcopy(agent.state_dict())
    watch = build_neighborhood("project", C, 1.0).watch(policy, reference, phase)
    for _ in range(10):
        phase.step(disturb(agent, batch))
        assert watch.step()
    end = copy.deepcopy(agent.state_dict())
    assert excess(reference, policy(), C) > 1.0
    measured: list[float] = []
    watch.policy = lambda: measured.append(1.0) or policy()  # type: ignore[attr-defined, func-returns-value]
    kept = watch.close()["kept"]
    assert 2 <= len(measured) <= 9
    assert 1.0 - 0.05 <= excess(reference, policy(), C) <= 1.0
    assert 0.1 < kept < 0.9
    result = copy.deepcopy(agent.state_dict())
    for name in start:  # the model keeps its step; the policy stands at one point of the straight path
        moves = name.startswith("heads") or name.startswith("world_model.encoder")
        expected = torch.lerp(start[name], end[name], kept) if moves else end[name]
        torch.testing.assert_close(result[name], expected)
    for share in torch.linspace(0.02, 1.0, 50).tolist():  # nothing much farther along the path is inside
        agent.load_state_dict({name: torch.lerp(start[name], end[name], share) for name in start})
        if share > kept + 0.05:
            assert excess(reference, policy(), C) > 1.0


def test_project_leaves_a_step_inside_alone(agent: Agent) -> None:
    data = experience(agent)
    batch = data["observation"].flatten(0, 1)
    policy = partial(agent.log_policy, data)
    phase = optimizers(agent, "heads", lr=1e-6)
    watch = Project().watch(policy, policy(), C, phase)
    phase.step(disturb(agent, batch))
    end = copy.deepcopy(agent.state_dict())
    assert watch.close() == {"kept": 1.0}
    assert all(torch.equal(value, end[name]) for name, value in agent.state_dict().items())


class _Line:
    """A policy of one parameter, in the place of what a phase's optimizers move."""

    def __init__(self) -> None:
        self.place = torch.nn.Parameter(torch.zeros(()))

    def policy_parameters(self) -> list[torch.nn.Parameter]:
        return [self.place]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (lambda x: 1.05 if x > 0.02 else 50.0 * x, (0.01, 0.02)),  # just outside nearly all the way
        (lambda x: 1.05 if x > 0.001 else 1000.0 * x, (1e-4, 0.001)),  # more than the evaluations that it has by itself
        (lambda x: 1.05 if x > 0.0 else 0.0, (0.0, 0.0)),
    ],
)
def test_project_finds_what_is_inside_behind_a_plateau(
    path: Callable[[float], float], kept: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "excess", lambda reference, policy, C: path(float(policy)))
    line = _Line()
    watch = Project().watch(lambda: line.place, torch.zeros(()), C, line)  # type: ignore[arg-type]
    with torch.no_grad():
        line.place.fill_(1.0)
    found = watch.close()["kept"]
    assert kept[0] <= found <= kept[1]
    assert line.place == found and path(found) <= 1.0


def policy_of(agent: Agent) -> dict[str, Tensor]:
    """What the deployed policy is made of: parameters of encoder and heads, but for the critic's own."""
    parts = {"encoder": agent.world_model.encoder, "trunk": agent.heads.trunk, "actor": agent.heads.actor}
    return {f"{name}.{key}": v.detach().clone() for name, part in parts.items() for key, v in part.named_parameters()}


FAST = ["log_every=1", "certify_every=1000", "planner.ground.optimizers.policy.lr=0.02"]
DREAMS = ["planner.dream.optimizers.heads.lr=0.02", "planner.dream.repeats=3", "planner.dream.epochs=2"]


@pytest.mark.parametrize("choice", ["stop", "project"])
@pytest.mark.parametrize("planner", ["ppo", "deepmdp", "deepspi", "deepspi_replay", "dreamspi", "hybrid"])
def test_no_violation_over_a_training(planner: str, choice: str) -> None:
    """At rates with which the soft forms leave at once, several dreams a batch count as one step."""
    words = FAST + (DREAMS if planner in ("dreamspi", "hybrid") else [])
    if choice == "stop":  # which never moves if a single update leaves
        words = [word.replace("lr=0.02", "lr=0.002") for word in words]
    training = started(f"planner={planner}", f"planner.neighborhood={choice}", *words)
    moved = 0
    while not training.finished:
        before = policy_of(training.planner.agent)
        metrics = training.iterate()
        assert 2 - C <= metrics["neighborhood/d_inf"] <= metrics["neighborhood/d_sup"] <= C
        assert metrics["neighborhood/outside"] == 0.0
        moved += any(not torch.equal(v, before[n]) for n, v in policy_of(training.planner.agent).items())
    training.close()
    assert moved == training.iterations, "a policy that stands still is inside, but learns nothing"


@pytest.mark.parametrize("choice", ["clip", "drift"])
def test_the_soft_forms_leave(choice: str) -> None:
    """What the test above would miss, were the rates too small."""
    training = started("planner=hybrid", f"planner.neighborhood={choice}", *FAST, *DREAMS)
    worst = max(training.iterate()["neighborhood/d_sup"] for _ in range(5))
    training.close()
    assert worst > 1.3


def test_the_ground_phase_leaves_half_of_the_way_to_the_dream() -> None:
    training = started("planner=hybrid", "planner.neighborhood=project", *FAST, *DREAMS)
    metrics = [training.iterate() for _ in range(3)]
    training.close()
    assert all(1 - 0.5 * (C - 1) <= m["ground/d_inf"] <= m["ground/d_sup"] <= 1 + 0.5 * (C - 1) for m in metrics)
    assert any(m["ground/kept"] < 1.0 for m in metrics), "else nothing was held back"
    assert any(m["neighborhood/d_sup"] > 1 + 0.5 * (C - 1) for m in metrics), "the rest is the dream's"


KEYS = ("ground", "dream", "neighborhood")


@pytest.mark.parametrize("bound", ["behavior", "dreamer"])
def test_the_dream_is_bound_to_whom_it_should(bound: str) -> None:
    far = ["planner.dream.trust._target_=planners.trust.Full", "planner.ground.clone=0"]  # both phases go to the border
    training = started(
        "planner=dreamspi", "planner.neighborhood=project", f"planner.dream.bound={bound}", *FAST, *DREAMS, *far
    )
    metrics = [training.iterate() for _ in range(10)]
    training.close()
    within = {key: all(m[f"{key}/d_inf"] >= 2 - C and m[f"{key}/d_sup"] <= C for m in metrics) for key in KEYS}
    assert within == {"ground": True, "dream": bound == "dreamer", "neighborhood": bound == "behavior"}


def test_every_choice_is_built_and_no_other() -> None:
    for choice in CHOICES:
        assert build_neighborhood(choice, 1.3, 1.0).interval == pytest.approx((0.7, 1.3))
    with pytest.raises(ValueError, match="clip, drift, stop, project"):
        build_neighborhood("hard", 1.3, 1.0)
    with pytest.raises(ValueError, match=r"planner\.C=2"):
        build_neighborhood("clip", 2.0, 1.0)


def test_measure_counts_a_lost_action() -> None:
    """An action that the behavior policy takes and the policy can't: ratio 0, and excess far above 1."""
    behavior, policy = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.0, -torch.inf]])
    assert measure(behavior, policy, C).d_inf == 0.0
    assert excess(behavior, policy, C) == pytest.approx(10.0)


def test_an_action_that_is_gained_is_outside() -> None:
    """An action that the behavior policy can't take and the policy does: no guard lets it pass."""
    behavior, policy = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[0.9, 0.1]]).log()
    assert excess(behavior, policy, C) == torch.inf
