"""``dreamspi train -m``: several runs, one after another, each a run of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dreamspi.cli import main
from dreamspi.collection import Collection
from tests.runner.support import fill_disk
from tests.support import tiny


def multirun(*words: str) -> tuple[int, list[Path]]:
    """The exit code and the run directories of a multi-run in ``sweep``."""
    keys = {word.partition("=")[0] for word in words}
    code = main(["train", "-m", *tiny(without=keys), *words, "hydra.sweep.dir=sweep"])
    return code, sorted(path for path in Path("sweep").glob("*") if path.is_dir())


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def test_two_seeds_are_two_runs() -> None:
    code, runs = multirun("seed=1,2")
    assert code == 0
    assert [summary(run)["seed"] for run in runs] == [1, 2]
    assert all((run / "checkpoints").is_dir() and (run / "config.yaml").is_file() for run in runs)
    assert main(["evaluate", f"run={runs[0]}", "episodes=1"]) == 0


def test_a_job_that_cannot_start_leaves_the_others_going(capsys: pytest.CaptureFixture[str]) -> None:
    code, runs = multirun("planner.ground.minibatches=3,2")
    assert code == 2
    assert len(runs) == 1 and summary(runs[0])["env_steps"] == 64
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and err[0].startswith("dreamspi: planner.ground.minibatches=3 does not divide")


def test_a_job_that_diverges_leaves_the_others_going(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collect = Collection.next

    def poisoned(self: Collection) -> Any:
        batch = collect(self)
        if self.seed == 1:
            batch["next", "reward"][0, 0] = float("nan")
        return batch

    monkeypatch.setattr(Collection, "next", poisoned)
    code, runs = multirun("seed=1,2")
    assert code == 3
    assert [(run / "summary.json").exists() for run in runs] == [False, True]
    assert "is not finite, after 0 steps" in capsys.readouterr().err


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each job, as in a single run, and not Hydra's traceback."""
    fill_disk("tensors", monkeypatch)
    code, _ = multirun("seed=1,2")
    assert code == 2
    assert capsys.readouterr().err == "dreamspi: no space left on the disk; last good checkpoint: none.\n" * 2


def test_everything_is_checked_before_the_first_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert multirun("seed=1,two") == (2, [])
    assert multirun("planner=ppo,deepsip") == (2, [])
    assert multirun("planner.C=1.1,2.5") == (2, [])
    assert "planner.C=2.5: must be above 1 and below 2" in capsys.readouterr().err
    assert multirun("seed=1,2", "run_dir=one") == (2, [])
    assert "run_dir=one: several trainings can't share it" in capsys.readouterr().err


def test_cfg_shows_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "env=minatar/breakout", "seed=7"]) == 0
    out = capsys.readouterr().out
    assert "seed: 7" in out and "name: breakout" in out
    assert list(tmp_path.iterdir()) == []
