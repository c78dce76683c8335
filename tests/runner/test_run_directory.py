"""What a run leaves behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import pytest
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dreamspi.cli import main
from dreamspi.config import load
from dreamspi.errors import UserError
from dreamspi.metrics_file import read_table
from dreamspi.run_directory import PACKAGES, RunDirectory, write_atomically, write_or_tell
from tests.runner.support import configured, trained
from tests.support import refused

SUMMARY = {
    "env",
    "world_model",
    "planner",
    "experiment",
    "seed",
    "env_steps",
    "dream_steps",
    "wall_seconds",
    "steps_per_second",
    "games",
    "return_mean",
    "return_last",
    "git_revision",
    *(f"version_{package.replace('-', '_')}" for package in PACKAGES),
}
MAZE = {"maze_value", "maze_optimum", "maze_latent_distance"}


@pytest.fixture(scope="module")
def finished(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["planner=dreamspi", "logger=tensorboard", "env.max_steps=9", "seed=3"]
    return trained(tmp_path_factory.mktemp("runs") / "run", *words, iterations=8, checkpoint=2)


def test_its_files(finished: Path) -> None:
    found = {path.name for path in finished.iterdir()}
    shown = {"config.yaml", "metrics.csv", "checkpoints", "summary.json", "learning.png", "tensorboard"}
    assert found == shown | {".lock"}
    assert imageio.imread(finished / "learning.png").shape[0] > 300
    names = {path.name for path in (finished / "checkpoints").iterdir()}
    assert {"checkpoint-000000000192.torchrl", "checkpoint-000000000256.torchrl"} <= names and len(names) <= 3


def test_the_summary(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary) >= SUMMARY | MAZE
    assert not any(isinstance(value, dict | list) for value in summary.values()), "flat"
    chosen = {"env": "maze", "world_model": "deterministic", "planner": "dreamspi", "seed": 3, "experiment": None}
    assert chosen.items() <= summary.items()
    assert summary["env_steps"] == 8 * 32
    assert summary["dream_steps"] == 8 * 32 * 2
    assert summary["wall_seconds"] > 0
    assert summary["steps_per_second"] == pytest.approx(256 / summary["wall_seconds"], rel=0.1)
    assert summary["games"] > 8 and summary["return_mean"] == pytest.approx(summary["return_last"])
    assert summary["maze_value"] < summary["maze_optimum"] < 10


def test_another_environment_has_no_maze(tmp_path: Path) -> None:
    trained(tmp_path / "run", "env=gym/CartPole-v1")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary) == SUMMARY
    assert summary["env"] == "gym/CartPole-v1"


def test_the_configuration_stands_on_its_own(finished: Path) -> None:
    text = (finished / "config.yaml").read_text()
    assert "${" not in text and "???" not in text
    config = load(finished)
    assert config.run_dir == str(finished) and config.choices.env == "maze"
    expected = configured(finished, "planner=dreamspi", "logger=tensorboard", "env.max_steps=9", "seed=3")
    for key in ("seed", "num_envs", "gamma", "env", "planner", "world_model", "collector"):
        assert OmegaConf.to_container(config)[key] == OmegaConf.to_container(expected)[key]  # type: ignore[call-overload]


def test_tensorboard_says_what_the_table_says(finished: Path) -> None:
    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    columns, rows = read_table(finished / "metrics.csv")
    assert set(events.Tags()["scalars"]) == set(columns) - {"env_steps"}
    for column in ("maze_value", "neighborhood/d_sup", "train/return"):
        shown = [(event.step, event.value) for event in events.Scalars(column)]
        assert shown == [(int(row["env_steps"]), pytest.approx(float(row[column]))) for row in rows if row[column]]


def test_runs_that_start_in_one_second_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "-20260101-000000")
    config = configured(tmp_path, "env=minatar/breakout")
    config.run_dir = None
    names = [RunDirectory.create(config).path for _ in range(3)]
    first = "runs/minatar_breakout-deterministic-ppo-s0-20260101-000000"
    assert [str(name) for name in names] == [first, f"{first}-2", f"{first}-3"]
    assert [load(name).run_dir for name in names] == [str(name) for name in names]


def test_a_directory_in_use_is_not_taken(tmp_path: Path) -> None:
    config = configured(tmp_path / "run")
    RunDirectory.create(config)
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(UserError, match=f"run_dir={tmp_path / 'run'}: exists already"):
        RunDirectory.create(config)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory.create(configured(tmp_path / "run", iterations=2))
    with run.held():
        assert main(["train", f"resume={run.path}"]) == 2
        assert f"{run.path}: another process is training this run" in capsys.readouterr().err
        assert not run.metrics.exists()
    assert main(["train", f"resume={run.path}"]) == 0
    (run.path / ".lock").unlink()
    (run.path / ".lock").mkdir()
    with pytest.raises(UserError, match="can't be written: Is a directory"), run.held():
        pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("gamma", None), "gamma is missing, which this version of DreamSPI needs; its default is 0.99."),
        (("gamma", "x"), "gamma=x: must be a number; its default is 0.99."),
        (
            ("checkpoint.keep", None),
            "checkpoint.keep is missing, which this version of DreamSPI needs; its default is 2.",
        ),
        (("checkpoint", None), "checkpoint is missing"),
        (("checkpoint", 3), "checkpoint=3: has keys of its own: every, keep, barrier."),
        (("checkpoint.nope", 3), "checkpoint.nope: no such key in this version of DreamSPI; take it out."),
        (("gamma", "${nope}"), "Interpolation key 'nope' not found"),
        (("logger", None), "logger is missing; this is no run's configuration any more."),
        (("total_steps", None), "total_steps is missing, which this version of DreamSPI needs."),
        (("frobnicate", 3), "frobnicate: no such key in this version of DreamSPI; take it out."),
        (("planner", None), "planner is missing; this is no run's configuration any more."),
        (("env", "maze"), "env is missing"),
    ],
)
@pytest.mark.parametrize("words", ["train resume=run", "evaluate run=run"])
def test_a_configuration_that_was_changed(
    change: tuple[str, Any], told: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand, or since by another version: the file is named, and the key."""
    RunDirectory.create(configured(Path("run")))
    config = OmegaConf.load("run/config.yaml")
    (key, value), section = change, config
    *parents, name = key.split(".")
    for parent in parents:
        section = section[parent]
    section[name] = value
    if value is None:
        del section[name]
    OmegaConf.save(config, "run/config.yaml")
    assert refused(words.split(), capsys).startswith(f"run/config.yaml: {told}")


def test_what_is_kept_beside_a_result_is_no_condition_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    write_or_tell(Path("/proc/none/file"), "x")
    assert capsys.readouterr().err == "dreamspi: /proc/none/file: not written: No such file or directory.\n"
    write_or_tell(Path("file"), b"x")
    assert Path("file").read_text() == "x"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):

        def full(_: int) -> None:
            raise OSError("full")

        patch.setattr(os, "fsync", full)
        write_atomically(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["file"]
    write_atomically(path, b"newest")
    assert path.read_bytes() == b"newest"
