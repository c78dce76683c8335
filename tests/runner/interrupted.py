"""Runs that end before their time: how they are made, and how often they are saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamspi.training import Training

#: Checkpoints at 3, 6, 9, 12 and 13 batches, barriers at 0, 4, 8 and 12: a resume replays 3, 2, 1 or no batches.
PACES = {"iterations": 13, "checkpoint": 3, "barrier": 4}
CASES = {
    "maze-deepspi": ["planner=deepspi", "env.max_steps=9"],
    "maze-replay": ["planner=deepspi_replay", "planner.ground.capacity=64", "env.max_steps=9"],
    "maze-dreamspi": ["planner=dreamspi", "env.max_steps=9"],
    "maze-hybrid": ["planner=hybrid", "world_model=mixture", "env.max_steps=9"],
    "maze-rssm": ["planner=dreamspi", "world_model=rssm", "world_model.deterministic=16", "env.max_steps=9"],
    "minatar": ["env=minatar/breakout", "planner=dreamspi"],
    "gym": ["env=gym/CartPole-v1", "planner=dreamspi"],
    "atari": [
        "env=atari/Breakout",
        "planner=ppo",
        "num_envs=2",
        "env.num_threads=1",
        "env.max_frames=48",
        "env.noop_max=2",
        "env.sticky=0.25",
    ],
}
References = Callable[[str], Path]


class Killed(BaseException):
    """The end of a process, as far as the code that runs in it can tell."""


def kill(
    start: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    cls: type,
    method: str,
    when: Callable[[Any], bool],
    after: bool = False,
) -> None:
    """Starts a run that dies where ``cls.method`` is called and ``when`` holds for the object, or ``after`` it."""
    original = getattr(cls, method)

    def deadly(self: Any, *args: Any, **keys: Any) -> Any:
        if not after and when(self):
            raise Killed
        result = original(self, *args, **keys)
        if after and when(self):
            raise Killed
        return result

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cls, method, deadly)
        start()


def kill_before(iteration: int, start: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    kill(start, monkeypatch, Training, "iterate", lambda training: training.iteration == iteration)


def at(call: int) -> Callable[[Any], bool]:
    """True at one call, counted from 1."""
    calls: list[Any] = []

    def reached(called: Any) -> bool:
        calls.append(called)
        return len(calls) == call

    return reached
