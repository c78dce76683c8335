"""What holds for every environment family, whatever the game."""

from __future__ import annotations

import inspect
from functools import cache

import numpy as np
import pytest
import torch
from hydra.utils import get_class
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from dreamspi.envs.base import VectorEnv
from dreamspi.errors import UserError
from tests.envs.families import CONFIGS, EXAMPLES, NOT_FOR_THE_CLASS, make, settings

every_family = pytest.mark.parametrize("family", EXAMPLES)
one_of_each = pytest.mark.parametrize("family", ["maze", "minatar_breakout", "gym_vector", "atari"])
FAMILIES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def play(env: VectorEnv, steps: int = 70, seed: int = 0) -> TensorDict:
    """``[N, steps]`` of uniformly random play after ``set_seed``, stepped as a collector would.

    Every tensor is cloned the moment it is handed out and compared again at the end: an environment that
    writes into what it gave away would be found out here.
    """
    env.set_seed(seed)
    chance = torch.Generator().manual_seed(seed)
    root = env.reset()
    given, kept = [], []
    for _ in range(steps):
        root["action"] = torch.randint(env.action_spec.space.n, (env.num_envs,), generator=chance)
        step, root = env.step_and_maybe_reset(root)
        given.append(step)
        kept.append(step.clone())
    for mine, theirs in zip(kept, given, strict=True):
        assert (mine == theirs).all()
    return torch.stack(kept, 1)


@cache
def played(family: str, training: bool = True) -> TensorDict:
    """``play`` of a new environment; not to be changed by a test."""
    return play(EXAMPLES[family](training=training))


@every_family
def test_torchrl_specs(family: str) -> None:
    check_env_specs(EXAMPLES[family](), seed=0)


@every_family
def test_flags_and_episode_boundaries(family: str) -> None:
    data = played(family)
    after, roots = data["next"], data.exclude("next")
    ended = after["done"].squeeze(-1)
    assert ended.any(), "the example must end some episodes, or this tests nothing"
    assert torch.equal(after["done"], after["terminated"] | after["truncated"])
    assert not (after["terminated"] & after["truncated"]).any()
    assert not (after["game_over"] & ~after["done"]).any()
    assert not roots["done"].any()
    # Inside an episode the next root is what was seen; nothing else ever is (see the families' own tests).
    inside = ~ended[:, :-1]
    assert torch.equal(after["observation"][:, :-1][inside], roots["observation"][:, 1:][inside])


@every_family
@pytest.mark.parametrize("training", [True, False])
def test_scores_count_the_raw_whole_game(family: str, training: bool) -> None:
    data = played(family, training)
    reward = played(family, training=False)["next", "reward"]  # the same games, raw
    after, total, length = data["next"], torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int64)
    assert not data["game_over"].any()
    for t in range(data.shape[1]):
        assert torch.equal(data["episode_return"][:, t], total)
        assert torch.equal(data["episode_length"][:, t], length)
        total, length = total + reward[:, t], length + 1
        assert torch.equal(after["episode_return"][:, t], total)
        assert torch.equal(after["episode_length"][:, t], length)
        running = ~after["game_over"][:, t]
        total, length = total * running, length * running


@every_family
def test_same_seed_same_bits(family: str) -> None:
    env = EXAMPLES[family]()
    play(env, steps=30, seed=1)
    again = play(env)  # seeding a used environment must forget what it went through
    assert (again == played(family)).all()


@one_of_each
def test_different_seeds_differ(family: str) -> None:
    env = EXAMPLES[family](num_envs=8)
    a, b = (play(env, steps=1, seed=seed) for seed in (0, 1))
    if family == "maze":  # nothing is random there before the hazard
        actions = torch.full((8,), 3)
        a, b = (_second_observation(env, actions, seed) for seed in (0, 1))
    else:
        a, b = a["observation"], b["observation"]
    assert not torch.equal(a, b)
    assert any(not torch.equal(a[0], other) for other in a[1:]), "copies must not run in lockstep"


def _second_observation(env: VectorEnv, action: torch.Tensor, seed: int) -> torch.Tensor:
    env.set_seed(seed)
    root = env.reset()
    for _ in range(2):
        root = env.step(root.set("action", action))["next"]
    return root["observation"]


@one_of_each
def test_unseeded_environments_follow_torch_generator(family: str) -> None:
    observations = []
    for _ in range(2):
        torch.manual_seed(3)
        observations.append(EXAMPLES[family]().reset()["observation"])
    assert torch.equal(*observations)


@every_family
def test_full_reset_begins_every_game_anew(family: str) -> None:
    env = EXAMPLES[family]()
    play(env, steps=5)
    root = env.reset()
    assert not root["episode_length"].any() and not root["episode_return"].any()
    assert env.rand_step(root)["next", "episode_length"].eq(1).all()


@every_family
def test_partial_reset_touches_only_its_copies(family: str) -> None:
    env = EXAMPLES[family]()
    play(env, steps=3)
    env.set_seed(5)
    root = env.reset()
    for _ in range(4):
        root = env.step(root.set("action", torch.zeros(env.num_envs, dtype=torch.int64)))["next"]
    assert not root["done"].any()
    before = root.clone()
    mask = torch.zeros(env.num_envs, 1, dtype=torch.bool)
    mask[1] = True
    after = env.reset(root.set("_reset", mask))
    others = ~mask.squeeze(-1)
    assert after["episode_length"].flatten().tolist() == [4, 0, 4]
    assert torch.equal(after["observation"][others], before["observation"][others])
    after["action"] = torch.zeros(env.num_envs, dtype=torch.int64)
    assert env.step(after)["next", "episode_length"].flatten().tolist() == [5, 1, 5]


@every_family
def test_render(family: str) -> None:
    env = EXAMPLES[family](training=False)
    env.reset()
    if family in ("gym_discrete", "gym_vector"):
        pytest.importorskip("pygame", reason="these two draw with pygame")
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


@pytest.mark.parametrize("family", [family for family in EXAMPLES if not family.startswith("maze")])
def test_only_the_maze_has_diagnostics(family: str) -> None:
    assert EXAMPLES[family]().diagnostics(lambda o: o, lambda o: o) == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_key_of_the_yaml_is_an_argument_with_that_default(family: str) -> None:
    keys = settings(family)
    cls = get_class(keys["_target_"])
    arguments = inspect.signature(cls.__init__).parameters
    keys = {key: value for key, value in keys.items() if key not in NOT_FOR_THE_CLASS}
    assert set(keys) | {"self", "num_envs", "training", "gamma"} == set(arguments)
    if "defaults" not in settings(family):  # a preset differs from the defaults: that is its point
        assert {key: arguments[key].default for key in keys} == keys


@pytest.mark.parametrize("family", FAMILIES)
def test_every_yaml_begins_with_its_one_line(family: str) -> None:
    first = (CONFIGS / f"{family}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ") and len(first) <= 110


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("maze", "num_envs", 0),
        ("maze", "max_steps", -1),
        ("minatar", "sticky_action_prob", 1.5),
        ("atari", "frame_skip", 0),
        ("atari", "max_frames", 0),
        ("atari", "noop_max", -1),
        ("atari", "sticky", -0.1),
    ],
)
def test_values_out_of_range_are_named(family: str, key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{key}={value}: must be"):
        make(family, **{key: value})


@pytest.mark.parametrize(
    ("family", "name", "nearest"),
    [
        ("minatar", "breakuot", "breakout"),
        ("atari", "Pnog", "Pong"),
        ("atari", "space_invaders", "SpaceInvaders"),
        ("gym", "CartPole-v11", "CartPole-v1"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(family: str, name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=name) as error:
        make(family, name=name)
    assert nearest in str(error.value).split("Allowed")[0]
