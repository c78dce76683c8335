"""Open-loop dreams against a world that is known by heart: which steps count, and what returns are."""

from __future__ import annotations

import pytest
import torch

from dreamspi.catalogue import options
from planners.open_loop import open_loop, returns_to_the_end, window_returns, windows
from tests.planners.drift import agent, sequences
from tests.planners.training import started


def flags(*rows: str) -> torch.Tensor:
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def test_windows_stay_inside_their_episode() -> None:
    step, counted = windows(flags("..x.", "...."), 3)
    assert step.tolist() == [[0, 1, 2], [1, 2, 3], [4, 5, 6], [5, 6, 7]]
    assert counted.tolist() == [[True] * 3, [True, True, False], [True] * 3, [True] * 3]
    step, counted = windows(flags("x.xx"), 4)
    assert counted.tolist() == [[True, False, False, False]]
    step, counted = windows(flags("x.xx"), 1)
    assert step.tolist() == [[0], [1], [2], [3]] and counted.all()


def test_where_a_window_starts_does_not_depend_on_how_it_goes_on() -> None:
    """Of steps that end with probability 0.3, a share of 0.3 ends: also among those that count."""
    torch.manual_seed(0)
    done = torch.rand(4000, 6) < 0.3
    step, counted = windows(done, 4)
    for h in range(4):
        own = done.flatten()[step[:, h]][counted[:, h]].float()
        assert float(own.mean()) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("mean", [True, False])
def test_a_perfect_model_dreams_what_happens(mean: bool) -> None:
    terminated, truncated = flags("....x....", ".........", "..x..x..x"), flags(".........", "...x.....", ".........")
    experience, beliefs = sequences(3, 9, terminated, truncated)
    walk = open_loop(agent(), experience, beliefs, 4, 1000, mean)
    assert walk.shape == (18, 4) and walk["counted"].sum() < walk.numel()
    own = walk[walk["counted"]]
    assert own["latent_error"].abs().max() == 0.0
    assert torch.equal(own["reward"], own["real_reward"]) and torch.equal(own["value"], own["real_value"])
    assert not torch.equal(walk["value"], walk["real_value"]), "beyond an end another episode is another story"


def test_the_dream_sees_the_first_state_alone() -> None:
    experience, beliefs = sequences()
    whole = open_loop(agent(), experience, beliefs, 9, 1000)
    order = whole["start"][:, 0].argsort()
    elsewhere = beliefs[0].clone()
    elsewhere[:, 1:] += 100.0
    again = open_loop(agent(), experience, (elsewhere, beliefs[1]), 9, 1000)
    assert torch.equal(again["reward"][again["start"][:, 0].argsort()], whole["reward"][order])


def test_a_dream_that_stays_where_it_is() -> None:
    """Every action moves the world by 1."""
    experience, beliefs = sequences()
    walk = open_loop(agent(), experience, beliefs, 5, 1000)
    assert walk["still_error"].tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0]] * len(walk)


def test_the_most_are_drawn_at_random() -> None:
    experience, beliefs = sequences(40, 9)
    walk = open_loop(agent(), experience, beliefs, 2, 50)
    starts = walk["start"][:, 0]
    assert len(walk) == 50 == len(starts.unique())
    assert starts.min() < 60 and starts.max() > 300


def test_wide_latents_go_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    experience, beliefs = sequences()
    torch.manual_seed(1)
    whole = open_loop(agent(error=(0.5, 0.0)), experience, beliefs, 4, 1000)
    monkeypatch.setattr("planners.open_loop.CHUNK", 10)
    torch.manual_seed(1)
    pieces = open_loop(agent(error=(0.5, 0.0)), experience, beliefs, 4, 1000)
    assert all(torch.equal(pieces[key], whole[key]) for key in whole.keys())


def test_returns_of_windows_by_hand() -> None:
    """Three steps that pay 1, 2, 3; the dream expects 1, 1, 1 and an end with 0.5 at each step."""
    experience, beliefs = sequences(4, 3)
    walk = open_loop(agent(ends=0.5), experience, beliefs, 3, 1000)
    walk["real_reward"] = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)
    walk["reward"] = torch.ones(4, 3)
    walk["counted"] = torch.tensor([[True, True, True], [True, True, False], [True, True, False], [True, False, False]])
    walk["terminated"] = torch.tensor(
        [[False, False, False], [False, True, True], [False, False, True], [True, False, False]]
    )
    dreamt, real = window_returns(walk, 0.9)
    assert real.tolist() == pytest.approx([1 + 0.9 * 2 + 0.81 * 3, 1 + 0.9 * 2, 1.0]), "the third was cut off"
    assert dreamt.tolist() == pytest.approx([1 + 0.45 + 0.81 / 4, 1 + 0.45, 1.0])


def test_returns_to_the_end_by_hand() -> None:
    experience, _ = sequences(2, 4, terminated=flags(".x..", "...."), truncated=flags("...x", ".x.."))
    experience["next", "reward"] = torch.tensor([[1.0, 2.0, 4.0, 8.0]] * 2).unsqueeze(-1)
    earned, known = returns_to_the_end(experience, 0.5)
    assert known.tolist() == [[True, True, False, False], [False] * 4]
    assert earned[known].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("model", options("world_model"))
def test_every_world_model_dreams_openly(model: str) -> None:
    training = started("planner=deepspi", f"world_model={model}")
    batch, own = training.collection.next(), training.planner.agent
    training.close()
    for mean in (True, False):
        walk = open_loop(own, batch, own.world_model.believe(batch), 4, 1000, mean)
        assert walk.shape == (8, 4) and all(walk[key].isfinite().all() for key in walk.keys())
        assert not any(walk[key].requires_grad for key in walk.keys())
