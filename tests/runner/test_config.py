"""Every option composes, alone and with its relatives."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from dreamspi.catalogue import GROUPS, config_directory, lineage, options
from dreamspi.config import compose, expand
from dreamspi.errors import UserError

OPTIONS = [f"{group}={name}" for group in GROUPS for name in options(group)]
#: One name of each family, beside the families themselves.
NAMED = ["env=minatar/seaquest", "env=atari/Breakout", "env=atari_machado/Qbert", "env=atari_stochastic/Pong"]


GYMNASIUM = ["env=gym/FrozenLake-v1", "env=gym/some.module:Game-v0", "env=gym/ALE/Pong-v5", "env=gym/a.b:Space/Game-v0"]


@pytest.mark.parametrize("word", [*OPTIONS, *NAMED, *GYMNASIUM])
def test_every_option_composes(word: str) -> None:
    config = compose([word])
    group, _, name = word.partition("=")
    assert OmegaConf.to_yaml(config, resolve=True) == OmegaConf.to_yaml(config), "resolved already"
    assert config.total_steps > 0 and config.planner.gamma == config.gamma
    if group == "logger":  # not a fact about the result, so not among the choices
        written = OmegaConf.load(config_directory() / group / f"{name}.yaml")
        assert config.logger == written
    else:
        assert config.choices[group].partition("/")[0] == name.partition("/")[0]
    if "/" in name:
        assert config.env.name == name.partition("/")[2] and config.choices.env == name


def test_the_defaults() -> None:
    config = compose([])
    assert (config.choices.env, config.choices.planner) == ("maze", "dreamspi")
    assert config.resume is None and config.run_dir is None


@pytest.mark.parametrize("planner", ["dreamspi", "hybrid"])
@pytest.mark.parametrize(("env", "horizon"), [("maze", 8), ("minatar/breakout", 1), ("gym/CartPole-v1", 16)])
def test_an_environment_suggests_how_far_to_dream(planner: str, env: str, horizon: int) -> None:
    """To both that dream; a preset of the paper's settings and the command line have the last word."""
    words = [f"env={env}", f"planner={planner}"]
    assert compose(words).planner.dream.horizon == horizon
    assert compose([*words, "planner.dream.horizon=5"]).planner.dream.horizon == 5
    paper = compose([*words, f"experiment=paper_{planner}"]).planner.dream
    assert (paper.horizon, paper.real_value, paper.epochs) == (8, 0.0, 1)


@pytest.mark.parametrize(
    ("env", "barrier", "spread"),
    [
        ("maze", 2_000_000, 0.0),
        ("minatar/breakout", 2_000_000, 0.0),
        ("atari/Pong", 10_000_000, 1.0),
        ("atari_stochastic/Pong", 10_000_000, 1.0),
    ],
)
def test_an_environment_suggests_how_often_games_begin_anew_and_whether_states_are_held_apart(
    env: str, barrier: int, spread: float
) -> None:
    """The command line has the last word."""
    config = compose([f"env={env}"])
    assert (config.checkpoint.barrier, config.world_model.spread.weight) == (barrier, spread)
    config = compose([f"env={env}", "checkpoint.barrier=7", "world_model.spread.weight=0.5"])
    assert (config.checkpoint.barrier, config.world_model.spread.weight) == (7, 0.5)
    for preset in ("paper_dreamspi", "paper_ppo"):
        assert "spread" not in compose([f"env={env}", f"experiment={preset}"]).world_model


def test_a_preset_gives_way_in_what_it_chooses_and_does_not_adjust() -> None:
    config = compose(["experiment=paper_dreamspi", "world_model=normal", "planner=dreamspi"])
    assert config.choices.world_model == "normal" and config.planner.dream.bound == "dreamer"
    builds_on_it = compose(["experiment=paper_deepspi", "planner=deepspi_replay"])
    assert builds_on_it.planner.ground.optimizers == compose(["experiment=paper_deepspi"]).planner.ground.optimizers


def test_what_an_option_builds_on() -> None:
    assert list(lineage("planner", "dreamspi")) == ["dreamspi", "hybrid", "deepspi", "ppo"]
    assert list(lineage("env", "atari_machado/Pong")) == ["atari_machado", "atari"]
    assert list(lineage("world_model", "my_package.model.Steps")) == []


def test_an_environment_may_suggest_how_often_dreams_are_gone_through() -> None:
    """To ``planner=dreamspi`` alone; the command line has the last word."""
    env = ["env=dreamspi.envs.maze.MazeEnv", "total_steps=2048"]
    assert compose([*env, "planner=dreamspi"]).planner.dream.epochs == 4
    env.append("+env.dream_epochs=2")
    assert compose([*env, "planner=dreamspi"]).planner.dream.epochs == 2
    assert compose([*env, "planner=dreamspi", "planner.dream.epochs=3"]).planner.dream.epochs == 3
    assert compose([*env, "planner=hybrid"]).planner.dream.epochs == 1


@pytest.mark.parametrize("name", ["2024_01", "1e3", "true", "7", "my run", "runs/1"])
def test_a_directory_is_called_what_was_typed(name: str) -> None:
    word = f"run_dir='{name}'" if " " in name else f"run_dir={name}"
    assert compose([word]).run_dir == name
    assert compose(["run_dir=null"]).run_dir is None


def test_a_count_may_be_written_as_a_power_of_ten() -> None:
    assert compose(["total_steps=1e6", "num_envs=1e2"]).total_steps == 1_000_000
    with pytest.raises(UserError, match=r"total_steps=2500\.5: must be a whole number"):
        compose(["total_steps=2500.5"])


def test_a_multi_run_is_every_combination() -> None:
    assert expand(["planner=ppo,deepspi", "seed=range(2)", "num_envs=4"]) == [
        ["planner=ppo", "seed=0", "num_envs=4"],
        ["planner=ppo", "seed=1", "num_envs=4"],
        ["planner=deepspi", "seed=0", "num_envs=4"],
        ["planner=deepspi", "seed=1", "num_envs=4"],
    ]
