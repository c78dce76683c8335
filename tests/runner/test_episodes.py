"""Games outside a training: whole episodes, no favour to short ones, and what can be seen while they go on."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch

from dreamspi.episodes import play_episodes, play_on
from dreamspi.errors import UserError
from tests.runner.countdown import Countdown, always


def test_whole_episodes_and_no_favour_to_short_ones() -> None:
    policy = always(1)
    policy.policy = lambda state, inner=policy.policy: inner(state).set("logits", torch.zeros(*state.shape, 3))
    data = play_episodes(policy, Countdown([2, 5]), 5)
    lengths = torch.bincount(data["episode"]).tolist()
    assert sorted(lengths) == [2, 2, 2, 5, 5], "three games of copy 0, two of copy 1"
    for number, length in enumerate(lengths):
        own = data[data["episode"] == number]
        assert own["step"].tolist() == list(range(length))
        assert own["next", "done"].flatten().tolist() == [False] * (length - 1) + [True]


def test_experience_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamspi.episodes.MOST_BYTES", 200)
    with pytest.raises(UserError, match="episodes=50: .* give fewer episodes"):
        play_episodes(always(1), Countdown([2, 5]), 50)


def test_the_last_frame_of_a_game_is_its_own() -> None:
    """A picture taken after a step shows where the step led, also where the game ended with it."""
    env: Any = Countdown([3])
    steps = islice(play_on(always(0), env), 7)
    seen = [(int(env.render()[0, 0, 0]), bool(after["next", "done"])) for after in steps]
    assert seen == [(1, False), (2, False), (3, True)] * 2 + [(1, False)]
