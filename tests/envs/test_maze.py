"""The maze environment does what the exact MDP says, and shows what the paper shows."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamspi.envs.gym import GymEnv
from dreamspi.envs.maze import MazeEnv, two_successors
from dreamspi.envs.maze_gymnasium import GymnasiumMaze
from dreamspi.envs.maze_mdp import RIGHT, UP, build_maze
from dreamspi.errors import UserError


@given(st.integers(2, 9), st.floats(0.01, 0.99), st.floats(0.5, 0.999))
@settings(max_examples=30, deadline=None)
def test_the_tables_hold_the_whole_transition_function(n: int, slip: float, gamma: float) -> None:
    P = build_maze(n, slip, gamma).P
    likelier, other, probability = two_successors(P)
    rebuilt = np.zeros_like(P)
    s, a = np.indices(likelier.shape)
    rebuilt[s, a, likelier] += 1.0 - probability
    rebuilt[s, a, other] += probability
    assert np.allclose(rebuilt, P, atol=1e-15)


@given(st.integers(2, 6), st.floats(0.05, 0.95), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_every_step_is_one_of_the_mdp(n: int, slip: float, seed: int) -> None:
    env = MazeEnv(32, path_length=n, slip=slip)
    env.set_seed(seed)
    torch.manual_seed(seed)
    data = env.rollout(30, break_when_any_done=False)
    s, t = (_states(env, x) for x in (data["observation"], data["next", "observation"]))
    a = data["action"].numpy()
    assert (env.mdp.P[s, a, t] > 0).all()
    assert np.allclose(env.mdp.R[s, a], data["next", "reward"].squeeze(-1).numpy())
    assert (env.mdp.terminal[t] == data["next", "terminated"].squeeze(-1).numpy()).all()


def test_slips_as_often_as_said() -> None:
    env = MazeEnv(20_000, slip=0.2)
    env.set_seed(0)
    root = env.reset()
    for _ in range(2):
        root = env.step(root.set("action", torch.full((20_000,), RIGHT)))["next"]
    lower = (_states(env, root["observation"]) == env.mdp.names.index("lower_1")).mean()
    assert lower == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 20_000) ** 0.5)


def test_truncation_is_not_termination() -> None:
    env = MazeEnv(2)
    root = env.reset()
    for step in range(1, 201):
        root = env.step(root.set("action", torch.full((2,), 2)))["next"]
        assert root["truncated"].all() == (step == 200)
    assert not root["terminated"].any() and root["game_over"].all()


def test_termination_on_the_last_step_is_not_truncation() -> None:
    env = MazeEnv(2, path_length=3, max_steps=5)
    root = env.reset()
    for _ in range(5):
        root = env.step(root.set("action", torch.full((2,), RIGHT)))["next"]
    assert root["terminated"].all() and not root["truncated"].any()


def test_the_picture() -> None:
    env = MazeEnv(1)
    first = env.reset()["observation"][0, 0]
    assert first.tolist() == [
        [50, 50, 50, 50, 50, 220, 50, 50],
        [50, 100, 100, 100, 100, 100, 200, 50],
        [255, 180, 50, 50, 50, 220, 50, 50],
        [50, 100, 100, 100, 100, 100, 200, 50],
        [50, 50, 50, 50, 50, 50, 50, 50],
    ]
    large = MazeEnv(1, picture=84)
    assert large.pictures.shape == (16, 1, 84, 84)
    centres = [int((i + 0.5) * 84 / size) for size in (5, 8) for i in range(size)]
    rows, columns = centres[:5], centres[5:]
    assert torch.equal(large.pictures[:, :, rows][..., columns], env.pictures)
    assert len(env.pictures.unique(dim=0)) == 16, "no two states may look alike"
    with pytest.raises(UserError, match="picture"):
        MazeEnv(1, picture="85")


@pytest.mark.parametrize("picture", ["cells", "84"])
def test_diagnostics(picture: str) -> None:
    env = MazeEnv(1, picture=picture)
    table = torch.from_numpy(env.mdp.deterministic_policy(upper_choice=UP)).float()

    def policy(observation: torch.Tensor) -> torch.Tensor:
        return table[torch.from_numpy(_states(env, observation))]

    told = env.diagnostics(policy, lambda observation: observation.float() / 255)
    assert told["maze_value"] == pytest.approx(told["maze_optimum"]) == pytest.approx(8.0103, abs=5e-5)
    assert told["maze_up_upper"] == told["maze_right_lower"] == 1.0
    assert told["maze_up_lower"] == told["maze_right_upper"] == 0.0
    # Two cells differ by 155 of 255 in a picture of 40 cells.
    assert told["maze_latent_distance"] == pytest.approx(155 / 255 * (2 / 40) ** 0.5, rel=0.05)
    assert env.diagnostics(policy, lambda o: torch.zeros(len(o), 3))["maze_latent_distance"] == 0.0


@pytest.mark.filterwarnings("ignore:.*image.*")
def test_gymnasium_checker_and_equal_dynamics() -> None:
    check_env(GymnasiumMaze(render_mode="rgb_array"), skip_render_check=False)
    name = "dreamspi.envs.maze_gymnasium:DreamSPI/Maze-v0"
    assert gymnasium.make(name).unwrapped.observation_space.shape == (5, 8, 1)
    theirs, ours = GymEnv(2, name=name), MazeEnv(2)
    a, b = theirs.reset(), ours.reset()
    for action in (RIGHT, UP):
        assert torch.equal(a["observation"], b["observation"])
        a = theirs.step(a.set("action", torch.full((2,), action)))["next"]
        b = ours.step(b.set("action", torch.full((2,), action)))["next"]


def _states(env: MazeEnv, observation: torch.Tensor) -> np.ndarray:
    """Index of the state that each picture shows."""
    flat = observation.reshape(-1, env.pictures[0].numel())
    same = (flat[:, None] == env.pictures.flatten(1)[None]).all(-1)
    assert (same.sum(-1) == 1).all()
    return same.long().argmax(-1).reshape(observation.shape[: observation.ndim - 3]).numpy()
