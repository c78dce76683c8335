"""The traps of ALE's vector environment, one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

from dreamspi.envs.atari import MULTIPLAYER, AtariEnv, games
from dreamspi.envs.base import copy_seeds
from dreamspi.errors import UserError
from tests.envs.families import make, settings


def test_names_are_those_that_ale_ships() -> None:
    assert settings("atari")["names"] == sorted(games())
    assert settings("atari_machado")["names"] == settings("atari_stochastic")["names"] == sorted(games())
    assert {"Pong", "MsPacman", "SpaceInvaders"} < set(games()) and len(games()) == 104


def test_multiplayer_roms_would_end_the_process_and_are_refused() -> None:
    for rom in MULTIPLAYER:
        with pytest.raises(UserError):
            AtariEnv(1, name=rom.title().replace("_", ""))


def test_presets() -> None:
    machado = make("atari_machado", 1, name="Pong")
    assert machado.action_spec.space.n == 18
    assert make("atari", 1, name="Pong").action_spec.space.n == 6
    keys = settings("atari_machado")
    assert (keys["sticky"], keys["life_loss"], keys["frame_skip"]) == (0.25, False, 4)
    keys = settings("atari_stochastic")
    assert (keys["sticky"], keys["noop_max"], keys["full_action_set"]) == (0.3, 60, False)


class Frame(NamedTuple):
    """What ALE itself reports of one step, from a second emulator fed the same seeds and actions."""

    lives: np.ndarray
    last_observation: np.ndarray
    next_observation: np.ndarray
    reward: np.ndarray
    over: np.ndarray


def beside_ale(env: AtariEnv, name: str, steps: int, seed: int = 2):
    """Steps ``env`` and a plain ALE in SAME_STEP mode, whose ``final_obs`` is the true last observation."""
    n = env.num_envs
    ale = AtariVectorEnv(name, n, num_threads=1, autoreset_mode=AutoresetMode.SAME_STEP, reward_clipping=False)
    first, _ = ale.reset(seed=np.array(copy_seeds(seed, n)))
    env.set_seed(seed)
    root = env.reset()
    assert np.array_equal(root["observation"].numpy(), first)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        root["action"] = torch.randint(env.action_spec.space.n, (n,), generator=chance)
        step, root = env.step_and_maybe_reset(root)
        after, reward, terminated, truncated, info = ale.step(step["action"].numpy())
        over = terminated | truncated
        last = np.where(over[:, None, None, None], info["final_obs"], after) if over.any() else after
        yield step, root, Frame(info["lives"], last, after, reward, over)


def test_true_last_observation_life_loss_and_raw_scores() -> None:
    env = make("atari", 3, name="Breakout", num_threads=1)
    lost = over = paid = 0
    lives = np.full(3, 5)
    for step, root, ale in beside_ale(env, "breakout", 220):
        after = step["next"]
        # At every step, game over or life lost or neither: the true observation, the right next root.
        assert np.array_equal(after["observation"].numpy(), ale.last_observation)
        assert np.array_equal(root["observation"].numpy(), ale.next_observation)
        lost_life = (ale.lives < lives) & ~ale.over
        lives = ale.lives
        assert np.array_equal(after["terminated"].squeeze(-1).numpy(), lost_life | ale.over)
        assert np.array_equal(after["game_over"].squeeze(-1).numpy(), ale.over)
        assert not after["truncated"].any()
        assert np.array_equal(after["reward"].squeeze(-1).numpy(), ale.reward.clip(-1, 1))
        gained = (after["episode_return"] - step["episode_return"]).squeeze(-1).numpy()
        assert np.array_equal(gained, ale.reward)
        # Scores go on over a lost life and start again with the next game.
        kept = np.where(ale.over, 0, after["episode_length"].squeeze(-1).numpy())
        assert np.array_equal(root["episode_length"].squeeze(-1).numpy(), kept)
        lost, over, paid = lost + lost_life.sum(), over + ale.over.sum(), paid + (ale.reward > 0).sum()
    assert lost >= 6 and over >= 2 and paid >= 2, "the test must have seen all of it"


def test_clipping_is_for_learning_only() -> None:
    rewards = {}
    for training in (True, False):
        env = make("atari", 2, training, name="SpaceInvaders", num_threads=1)
        steps = [step["next"] for step, _, _ in beside_ale(env, "space_invaders", 120)]
        data = torch.stack(steps, 1)
        rewards[training] = data["reward"]
        assert data["episode_return"].max() >= 5, "an invader is worth 5 at least"
    assert rewards[True].max() == 1 and rewards[False].max() >= 5
    assert torch.equal(rewards[True], rewards[False].clamp(-1, 1))


def test_evaluation_sees_whole_games() -> None:
    env = make("atari", 2, training=False, name="Breakout", num_threads=1)
    steps = [step["next"] for step, _, _ in beside_ale(env, "breakout", 200)]
    data = torch.stack(steps, 1)
    assert data["done"].any() and torch.equal(data["done"], data["game_over"])


def test_frame_limit_truncates_and_does_not_terminate() -> None:
    env = make("atari", 2, name="Pong", max_frames=120, noop_max=1, num_threads=1)
    env.set_seed(0)
    data = env.rollout(100, break_when_any_done=False)
    after = data["next"]
    assert after["truncated"].any() and not after["terminated"].any()
    assert torch.equal(after["truncated"], after["game_over"])
    lengths = after["episode_length"][after["game_over"]]
    assert lengths.min() >= 28 and lengths.max() <= 30
    ends = after["truncated"].squeeze(-1)[:, :-1]
    last, first = after["observation"][:, :-1][ends], data["observation"][:, 1:][ends]
    assert (last != first).flatten(1).any(1).all()


def test_known_limit_the_last_frame_repeats_at_game_over() -> None:
    """When a new ALE captures it, this fails: then the note in ``atari.py`` can go."""
    env = make("atari", 3, name="Breakout", num_threads=1)
    repeats = []
    for step, _, ale in beside_ale(env, "breakout", 200):
        last = step["next", "observation"].numpy()
        repeats += [np.array_equal(last[i, -1], last[i, -2]) for i in np.flatnonzero(ale.over)]
    assert repeats and all(repeats)


def test_threads_do_not_change_what_is_seen() -> None:
    seen = []
    for num_threads in (1, 2):
        env = make("atari", 4, name="Breakout", num_threads=num_threads, sticky=0.25)
        torch.manual_seed(0)
        env.set_seed(0)
        seen.append(env.rollout(60, break_when_any_done=False)["next", "observation"])
    assert torch.equal(*seen)


def test_no_lives_left_is_not_yet_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some games show 0 lives for a while before ALE says that they are over."""
    env = make("atari", 1, name="Qbert", num_threads=1)
    root = env.reset()
    frames = np.zeros((1, 4, 84, 84), np.uint8)
    terminated = []
    for lives, over in ((2, False), (1, False), (0, False), (0, False), (0, True)):
        told = (
            frames,
            np.zeros(1, np.int32),
            np.array([over]),
            np.array([False]),
            {"lives": np.array([lives])},
        )
        monkeypatch.setattr(env._emulator, "step", lambda action, told=told: told)
        root = env.rand_step(root)["next"]
        terminated.append(bool(root["terminated"]))
    assert terminated == [True, True, False, False, True]
