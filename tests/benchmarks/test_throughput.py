"""The benchmark: what it prints adds up, it changes no result, and it refuses wrong input in one line."""

from __future__ import annotations

import json

import pytest

from benchmarks.throughput import PHASES, Watched, main, parse
from dreamspi.config import compose
from dreamspi.training import Training
from tests.support import refused, tiny

#: A training of ten batches; its planner is the benchmark's own word.
TINY = tiny("planner=dreamspi", without=["planner"], iterations=10)


def test_what_it_measures_adds_up(tmp_path, capsys):
    file = tmp_path / "speed.json"
    options = ["planners=dreamspi", "iterations=2", "repeats=2", f"json={file}"]
    assert main([*TINY, *options]) == 0  # the dream's keys go to the planner that dreams alone
    found = json.loads(file.read_text())
    assert list(found["planners"]) == ["ppo", "dreamspi"]
    assert found["planners"]["ppo"]["ratio"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    for name, result in found["planners"].items():
        assert sum(result["shares"].values()) == pytest.approx(1.0)
        assert all(result["shares"][phase] > 0 for phase in PHASES if (name, phase) != ("ppo", "dream"))
        assert result["shares"]["other"] > 0
        assert 0 < result["seconds"]["min"] <= result["seconds"]["median"] <= result["seconds"]["max"]
        dreamed = {"ppo": 0.0, "dreamspi": 2 * result["env_steps_per_second"]}[name]
        assert result["dream_steps_per_second"] == pytest.approx(dreamed)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("git_revision", "torch threads", "dtype", "x ppo"))


def test_watching_changes_no_result():
    config = compose([*TINY, "planner=dreamspi"])

    def metrics(training, iterate):
        rows = [iterate() for _ in range(3)]
        training.close()
        return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]

    plain = Training(config)
    plain.start()
    expected = metrics(plain, plain.iterate)
    watched = Watched(config)
    assert metrics(watched.training, watched.iterate) == expected


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ([], "atari/Pong"),
        (["env=maze"], "maze"),
        (["experiment=maze_collapse"], "maze"),
        (["experiment=paper_ppo"], "atari/Pong"),
    ],
)
def test_it_is_pong_unless_a_word_or_a_preset_says_otherwise(words, env):
    assert compose(parse(words)[1]).choices.env == env


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["planners=ppo,deepspy"], "planners=deepspy: no such name. Did you mean deepspi"),
        (["planner=ppo"], "write planners="),
        (["repeats=0"], "repeats=0: must be a whole number"),
        (["iterations=many"], "iterations=many: must be a whole number"),
        (["planners=ppo", "planner.dream.horizon=2"], "planner.dream.horizon: no such key here"),
        (["json=/nowhere/at/all.json"], "json=/nowhere/at/all.json: no such directory"),
        ([*TINY, "planners=dreamspi", "iterations=20"], "too few"),
        ([*TINY, "collector.backend=process"], "only direct"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, message, capsys):
    assert message in refused(words, capsys, main)
