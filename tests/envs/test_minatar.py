"""Our vector of MinAtar games against MinAtar's own, game by game."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from minatar import Environment

from dreamspi.envs.base import copy_seeds
from dreamspi.envs.minatar import GAMES, PALETTE, MinAtarEnv
from tests.envs.families import settings


def test_names() -> None:
    assert settings("minatar")["names"] == list(GAMES)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("minimal_actions", [True, False])
def test_plays_minatar_step_by_step(name: str, minimal_actions: bool) -> None:
    env = MinAtarEnv(2, name=name, minimal_actions=minimal_actions)
    references = [Environment(name) for _ in range(2)]
    for reference, seed in zip(references, copy_seeds(4, 2), strict=True):
        reference.seed(seed)
        reference.reset()
    actions = references[0].minimal_action_set() if minimal_actions else list(range(6))
    assert env.action_spec.space.n == len(actions)
    env.set_seed(4)
    root = env.reset()
    chance = torch.Generator().manual_seed(0)
    for _ in range(150):
        root["action"] = torch.randint(len(actions), (2,), generator=chance)
        step, root = env.step_and_maybe_reset(root)
        for i, reference in enumerate(references):
            reward, over = reference.act(actions[step["action"][i]])
            seen = step["next"][i]
            assert (seen["reward"].item(), seen["terminated"].item()) == (reward, over)
            assert np.array_equal(seen["observation"].numpy(), reference.state().transpose(2, 0, 1))
            if over:
                reference.reset()
                reference.last_action = 0
            assert np.array_equal(root["observation"][i].numpy(), reference.state().transpose(2, 0, 1))


def test_a_sticky_action_does_not_reach_into_the_next_game() -> None:
    env = MinAtarEnv(1, name="breakout", sticky_action_prob=1.0)  # repeats for ever: nothing but "no-op"
    env.set_seed(0)
    env.reset()
    env._games[0].last_action = 1
    moved = env.step(env.reset().set("action", torch.tensor([1])))["next", "observation"][0, 0, 9]
    assert moved.argmax() == 4, "the paddle must not have moved"


def test_every_channel_has_a_colour() -> None:
    assert max(Environment(name).n_channels for name in GAMES) < len(PALETTE)
    assert len(np.unique(PALETTE, axis=0)) == len(PALETTE)
