"""Rehearsal: a uniform sample of everything seen, that survives a checkpoint, and teaches the model alone."""

from __future__ import annotations

import copy

import pytest
import torch
from tensordict import TensorDict

from planners.agent import Agent
from planners.buffers import Buffer, Newest, Reservoir
from planners.ground import GroundLoss
from planners.rehearsal import Rehearsal
from planners.utility import Advantage, Unified
from planners.value_scale import Reward
from tests.planners.ground_phase import CLIP, make, with_advantages
from tests.planners.roles import moved, snapshot


def numbered(first: int, count: int) -> TensorDict:
    """Transitions whose reward is their number."""
    number = torch.arange(first, first + count, dtype=torch.float32).unsqueeze(-1)
    after = {"observation": number + 1, "reward": number, "terminated": number < 0}
    return TensorDict(
        {"observation": number, "action": torch.zeros(count, dtype=torch.long), "next": after}, batch_size=count
    )


def kept(buffer: Buffer) -> list[int]:
    assert buffer.kept is not None
    return buffer.kept["next", "reward"][: len(buffer), 0].long().tolist()


def _slope(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def test_everything_is_kept_until_it_is_full() -> None:
    reservoir = Reservoir(10)
    reservoir.extend(numbered(0, 4))
    reservoir.extend(numbered(4, 5))
    assert kept(reservoir) == list(range(9)) and len(reservoir) == 9
    reservoir.extend(numbered(9, 30))
    assert len(reservoir) == 10 and len(set(kept(reservoir))) == 10, "nothing is kept twice"


def test_of_the_newest_none_is_older_than_the_capacity() -> None:
    newest = Newest(10)
    for first, count in ((0, 4), (4, 5), (9, 3), (12, 25)):
        newest.extend(numbered(first, count))
        assert sorted(kept(newest)) == list(range(max(first + count - 10, 0), first + count))


def test_each_transition_is_kept_with_the_same_probability() -> None:
    """200 transitions in four batches, 20 places: 1 in 10 each, whenever it came (3.9 standard deviations)."""
    torch.manual_seed(0)
    count, runs = torch.zeros(200), 1000
    for _ in range(runs):
        reservoir = Reservoir(20)
        for first in range(0, 200, 50):
            reservoir.extend(numbered(first, 50))
        count[kept(reservoir)] += 1
    share = count / runs
    assert share.sum() == pytest.approx(20.0)
    assert (share - 0.1).abs().max() < 3.9 * (0.1 * 0.9 / runs) ** 0.5
    assert float(share[:50].mean()) == pytest.approx(float(share[150:].mean()), abs=0.007)


def test_samples_always_say_where_they_are() -> None:
    """A compiled loss would be compiled again for those that begin to."""
    reservoir = Reservoir(8)
    for first in (0, 10):
        reservoir.extend(numbered(first, 10))
        assert reservoir.sample(3).device == torch.device("cpu")


def test_a_transition_stays_whole() -> None:
    torch.manual_seed(0)
    reservoir = Reservoir(8)
    for first in range(0, 100, 10):
        reservoir.extend(numbered(first, 10))
    drawn = reservoir.sample(50)
    assert torch.equal(drawn["observation"], drawn["next", "reward"])
    assert torch.equal(drawn["next", "observation"], drawn["next", "reward"] + 1)


@pytest.mark.parametrize("kind", [Reservoir, Newest])
@pytest.mark.parametrize("seen", [0, 5, 30])
def test_state_goes_on_where_it_was(kind: type[Buffer], seen: int) -> None:
    whole, resumed = kind(12), kind(12)
    if seen:
        torch.manual_seed(0)
        whole.extend(numbered(0, seen))
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for reservoir in (whole, resumed):
        torch.manual_seed(1)
        reservoir.extend(numbered(seen, 20))
    assert kept(resumed) == kept(whole) and resumed.seen == whole.seen == seen + 20


def test_it_teaches_the_model_alone_beside_the_objective(agent: Agent) -> None:
    rehearsal = Rehearsal(capacity=16, transitions=8, weight=2.0)
    batch = with_advantages(agent)
    rehearsal.add(batch)
    utility = Unified(0.3, 0.7)
    past = rehearsal.sample()
    assert past.shape == (8,)
    found = GroundLoss(agent, utility, CLIP, Reward(), 0.5, 0.01, rehearsal.weight)(batch, past)
    model, after = agent.world_model, past["next"]
    losses = model.local_losses(
        model.encode(past["observation"]),
        past["action"],
        after["reward"].squeeze(-1),
        model.encode(after["observation"]),
        after["terminated"].squeeze(-1),
    )
    expected = 0.3 * (losses["reward"] + losses["termination"]) + 0.7 * losses["transition"]
    torch.testing.assert_close(found["loss_rehearsal"], 2.0 * expected.mean())
    found["loss_rehearsal"].backward()
    moving = [role for role in ("encoder", "model", "heads") for p in agent.parameters_of(role) if _slope(p)]
    assert set(moving) == {"model"}


def test_beside_it_all_other_losses_are_as_without_it(agent: Agent) -> None:
    rehearsal = Rehearsal(capacity=16, transitions=8, weight=2.0)
    batch = with_advantages(agent)
    rehearsal.add(batch)
    loss = GroundLoss(agent, Unified(0.3, 0.7), CLIP, Reward(), 0.5, 0.01, rehearsal.weight)
    without, beside = loss(batch), loss(batch, rehearsal.sample())
    assert set(beside.keys()) - set(without.keys()) == {"loss_rehearsal"}
    for key, value in without.items():
        torch.testing.assert_close(beside[key], value)


def test_a_ground_phase_with_rehearsal_moves_no_heads(agent: Agent) -> None:
    before = snapshot(agent)
    rehearsal = Rehearsal(capacity=100, transitions=8, weight=1.0)
    ground = make(agent, Unified(1.0, 1.0), ("encoder", "model"), rehearsal=rehearsal)
    metrics = ground.run(with_advantages(agent), 0.0)
    assert moved(agent, before) == {"encoder", "model"}
    assert metrics["ground/loss_rehearsal"] > 0 and rehearsal.reservoir.seen == 32


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"capacity": 0}, "planner.ground.rehearsal.capacity=0"),
        ({"transitions": 0}, "planner.ground.rehearsal.transitions=0"),
        ({"weight": -1.0}, "planner.ground.rehearsal.weight=-1"),
    ],
)
def test_wrong_settings(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rehearsal(**({"capacity": 10, "transitions": 2, "weight": 1.0} | keys))


def test_a_planner_without_a_model_has_nothing_to_rehearse(agent: Agent) -> None:
    with pytest.raises(ValueError, match="must be null"):
        make(agent, Advantage(), ("encoder", "heads"), rehearsal=Rehearsal(10, 2, 1.0))
