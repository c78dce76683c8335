"""How time grows: each axis makes what it says larger, and the power is that of the size."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.growth import main, power, race
from dreamspi.config import compose
from tests.support import refused, tiny


def test_a_run_of_all_axes(tmp_path, capsys):
    file = tmp_path / "growth.json"
    words = tiny("planner=dreamspi", iterations=20)  # the maze's encoder is auto, an mlp
    assert main([*words, "iterations=1", "repeats=2", f"json={file}"]) == 0
    found = json.loads(file.read_text())
    assert {axis: list(results) for axis, results in found["axes"].items()} == {
        "num_envs": ["num_envs=8", "num_envs=16", "num_envs=32"],
        "num_steps": ["num_steps=4", "num_steps=8", "num_steps=16"],
        "horizon": ["horizon=2", "horizon=4", "horizon=8"],
        "latent": ["latent=64", "latent=128", "latent=256"],
    }
    for results in found["axes"].values():
        first, *_ = results.values()
        assert first["ratio"]["median"] == 1.0
    dreamt = {
        name: result["dream_steps_per_second"] / result["env_steps_per_second"]
        for name, result in found["axes"]["horizon"].items()
    }
    assert dreamt == pytest.approx({"horizon=2": 2, "horizon=4": 4, "horizon=8": 8})
    printed = capsys.readouterr().out
    assert all(f"x {name}" in printed for name in ("num_envs=8", "num_steps=4", "horizon=2", "latent=64"))


def test_the_settings_of_an_axis_differ_in_it_alone():
    words = ["env=minatar/breakout", "planner=hybrid", "planner.dream.horizon=3"]
    configs = race("horizon", compose(words), words)
    assert [config.planner.dream.horizon for config in configs.values()] == [3, 6, 12]
    for config in configs.values():
        config.planner.dream.horizon, config.choices.run_id = 0, ""
    first, *others = configs.values()
    assert all(other == first for other in others)
    widths = [config.world_model.encoder.width for config in race("latent", compose(words), words).values()]
    assert widths == [128, 256, 512]
    words = ["env=maze", "env.picture=84"]
    sizes = [config.world_model.encoder.latent for config in race("latent", compose(words), words).values()]
    assert sizes == [128, 256, 512]


@pytest.mark.parametrize(("exponent"), [0.0, 0.5, 1.0, 2.0])
def test_the_power_by_hand(exponent):
    times = {name: {"ratio": {"median": factor**exponent}} for name, factor in (("a", 1), ("b", 2), ("c", 4))}
    assert math.isclose(power(times), exponent, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["axes=num_env"], "axes=num_env: no such name. Did you mean num_envs"),
        (["axes=horizon", "planner=ppo"], "axes=horizon: planner=ppo does not dream"),
        (
            ["axes=latent", "env=atari/Pong", "env.encoder=nature_cnn"],
            "needs world_model.encoder=dense_cnn or small_cnn or mlp, here it is nature_cnn",
        ),
        (
            ["axes=latent", "world_model=rssm", "env=maze", "env.picture=84", "env.encoder=nature_cnn"],
            "here it is nature_cnn",
        ),
        (["axes=latent", "world_model=mixture_paper", "env=maze", "env.picture=84"], "here it is nature_cnn"),
        (["axes=latent", "world_model.encoder={_target_: my.Encoder}"], "here it is {'_target_': 'my.Encoder'}"),
        (["repeats=none"], "repeats=none: must be a whole number"),
        (["num_env=3"], "num_env: no such key"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, message, capsys):
    assert message in refused(words, capsys, main)
