"""Gymnasium environments keep their meaning on the way through."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamspi.envs.base import copy_seeds
from dreamspi.envs.gym import GymEnv, observation_spec
from dreamspi.errors import UserError


class Counter(gymnasium.Env):
    """Counts to 3. Of four games the first ends by itself, the second and fourth are cut off, the third says both."""

    observation_space = spaces.Box(0, 255, (36, 40, 3), np.uint8)
    action_space = spaces.Discrete(2, start=5)

    def __init__(self) -> None:
        self.game, self.count = -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.game, self.count = self.game + 1, 0
        return self._picture(), {}

    def step(self, action):
        assert action in (5, 6)
        self.count += 1
        last = self.count == 3
        return self._picture(), float(action), last and self.game % 2 == 0, last and self.game % 4 > 0, {}

    def _picture(self):
        picture = np.zeros((36, 40, 3), np.uint8)
        picture[0, 1, 2] = 10 * self.game + self.count
        return picture


gymnasium.register("Counter-v0", Counter)


def test_true_last_observation_and_flags_of_an_image_environment() -> None:
    env = GymEnv(2, name="Counter-v0")
    data = env.rollout(12, break_when_any_done=False)
    assert data["observation"].shape[2:] == (3, 36, 40)
    marks = data["next", "observation"][..., 2, 0, 1]
    assert marks[0].tolist() == [1, 2, 3, 11, 12, 13, 21, 22, 23, 31, 32, 33]
    assert data["observation"][0, :, 2, 0, 1].tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    ends = data["next"][0, 2::3]
    assert ends["terminated"].flatten().tolist() == [True, False, True, False]
    assert ends["truncated"].flatten().tolist() == [False, True, False, True]
    assert data["next", "done"].sum() == 8
    assert torch.equal(data["next", "reward"].squeeze(-1), data["action"] + 5.0)


def test_plays_cartpole_step_by_step() -> None:
    env = GymEnv(2, name="CartPole-v1")
    references = [gymnasium.make("CartPole-v1") for _ in range(2)]
    env.set_seed(1)
    root = env.reset()
    first = [reference.reset(seed=s)[0] for reference, s in zip(references, copy_seeds(1, 2), strict=True)]
    assert np.array_equal(root["observation"].numpy(), np.stack(first))
    for t in range(100):
        root["action"] = torch.tensor([t % 3 == 0, t % 2 == 0]).long()
        step, root = env.step_and_maybe_reset(root)
        for i, reference in enumerate(references):
            observation, reward, terminated, truncated, _ = reference.step(int(step["action"][i]))
            seen = step["next"][i]
            assert np.array_equal(seen["observation"].numpy(), observation)
            assert (seen["reward"], seen["terminated"], seen["truncated"]) == (reward, terminated, truncated)
            if terminated or truncated:
                assert np.array_equal(root["observation"][i].numpy(), reference.reset()[0])


def test_time_limit_truncates() -> None:
    env = GymEnv(1, name="MountainCar-v0")
    data = env.rollout(200)
    assert data["next", "truncated"][0, -1] and not data["next", "terminated"].any()
    assert data["next", "game_over"][0, -1]


def test_discrete_observations_are_one_hot() -> None:
    data = GymEnv(2, name="FrozenLake-v1").rollout(5)
    assert data["observation"].shape[-1] == 16
    assert data["observation"].sum(-1).eq(1).all() and data["observation"].dtype == torch.float32


def test_spaces_that_are_not_taken_are_named() -> None:
    with pytest.raises(UserError, match=r"Pendulum-v1.*action space is Box"):
        GymEnv(1, name="Pendulum-v1")
    with pytest.raises(UserError, match=r"observation space is Tuple"):
        GymEnv(1, name="Blackjack-v1")
    with pytest.raises(UserError, match=r"taken are Discrete, flat Box"):
        observation_spec("x", spaces.Box(0, 1, (4, 4), np.float32))
    with pytest.raises(UserError, match="no_such_module"):
        GymEnv(1, name="no_such_module:Thing-v0")
