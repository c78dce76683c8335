"""Whole games, raw scores: statistics against numbers computed by hand, and no favour to short games."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from torch import Tensor
from torchrl.checkpoint import Checkpoint

from dreamspi.agents import load_agent
from dreamspi.cli import main
from dreamspi.envs.base import Step
from dreamspi.errors import UserError
from dreamspi.evaluate import FPS, Film, iqm, play, statistics
from dreamspi.train import train
from planners.agent import Agent
from tests.planners.linear_model import LinearModel
from tests.runner.countdown import Countdown, always
from tests.runner.support import COMMAND, configured, rewritten
from tests.support import refused


def test_each_copy_plays_a_share_that_is_fixed_in_advance() -> None:
    """The first four games to end would be 2, 2, 2, 2: the long ones would hardly ever be counted."""
    returns, lengths = play(always(1), Countdown([2, 9]), episodes=4)
    assert lengths == [2, 2, 9, 9]
    assert returns == [2.0, 2.0, 9.0, 9.0]
    assert play(always(0), Countdown([2, 9, 5]), episodes=5) == ([0.0] * 5, [2, 2, 9, 9, 5])
    assert play(always(1), Countdown([4, 3, 2]), episodes=2)[1] == [4, 3]


def test_greedy_takes_the_likeliest_action() -> None:
    torch.manual_seed(0)
    agent = Agent(LinearModel())
    with torch.no_grad():
        agent.heads.actor.bias.copy_(torch.tensor([0.0, 0.5, 0.0]))
    planner: Any = SimpleNamespace(policy=agent.policy(), device=torch.device("cpu"), memory_spec=None)
    greedy, _ = play(planner, Countdown([50]), episodes=2, greedy=True)
    sampled, _ = play(planner, Countdown([50]), episodes=2)
    assert greedy == [50.0, 50.0]
    assert all(5 < value < 40 for value in sampled)


def test_the_film_is_the_first_game_of_copy_0(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4")
    play(always(0), Countdown([4, 7]), episodes=4, film=film)
    assert [int(frame[0, 0, 0]) for frame in film.frames] == [0, 1, 2, 3, 4]


def test_statistics_by_hand() -> None:
    found = statistics([100.0, 1.0, 4.0, 2.0, 3.0, 5.0, -50.0, 6.0], seed=0)
    assert found["episodes"] == 8
    assert found["mean"] == pytest.approx(71 / 8)
    assert found["median"] == 3.5
    assert found["std"] == pytest.approx(np.sqrt(sum((x - 71 / 8) ** 2 for x in (100, 1, 4, 2, 3, 5, -50, 6)) / 7))
    assert found["iqm"] == pytest.approx((2 + 3 + 4 + 5) / 4)
    low, high = found["iqm_interval"]
    assert low < found["iqm"] < high


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 200 samples of 40 games the true interquartile mean, 0, lies in about 95%."""
    chance = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = statistics(list(chance.normal(size=40)), seed)["iqm_interval"]
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_game_has_no_interval() -> None:
    assert statistics([3.0], seed=0) == {
        "episodes": 1,
        "mean": 3.0,
        "median": 3.0,
        "std": None,
        "iqm": 3.0,
        "iqm_interval": None,
    }
    assert iqm(np.array([1.0, 2.0])) == 1.5


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    train(configured(path, "planner=deepspi", "env.max_steps=40", iterations=4, checkpoint=2))
    return path


def evaluated(run: Path, *words: str) -> dict[str, Any]:
    assert main(["evaluate", f"run={run}", "episodes=7", "num_envs=3", *words, "json=result.json"]) == 0
    return json.loads(Path("result.json").read_text())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run=run", "checkpoint=bset"], "checkpoint=bset: no such checkpoint. Did you mean best"),
        (
            ["run=run", "checkpoint=damaged"],
            "checkpoint=damaged: damaged: File is not a zip file. Allowed: newest, best",
        ),
        (["run"], "run: is a run's directory; write run=run, or to train on resume=run."),
        (["run=rnu"], "rnu: no such run directory. Did you mean run?"),
    ],
)
def test_what_is_not_there(run: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").symlink_to(run)
    Path("damaged").write_text("no checkpoint")
    assert refused(["evaluate", *words], capsys).startswith(told)


def test_a_damaged_checkpoint_is_told_in_a_line(run: Path) -> None:
    shutil.copytree(run, "run")
    newest = sorted(Path("run/checkpoints").glob("*.torchrl"))[-1]
    newest.write_text("no checkpoint")
    done = subprocess.run([*COMMAND, "evaluate", "run=run", "episodes=1"], capture_output=True, text=True)
    told = done.stderr.splitlines()
    assert done.returncode == 0 and len(told) == 1, done.stderr
    assert told[0].startswith(f"warning: {newest}: damaged: File is not a zip file. It is skipped, ")


def test_same_seed_same_result(run: Path) -> None:
    first = evaluated(run, "seed=5")
    torch.manual_seed(77)
    assert evaluated(run, "seed=5") == first
    assert evaluated(run, "seed=6")["returns"] != first["returns"]
    assert first["returns"] and len(first["returns"]) == first["episodes"] == 7
    assert first["mean"] == pytest.approx(np.mean(first["returns"]))
    facts = {"env": "maze", "planner": "deepspi", "seed": 0, "evaluation_seed": 5, "env_steps": 128, "greedy": False}
    assert facts.items() <= first.items()


@pytest.mark.parametrize("greedy", [True, False])
def test_greedy_is_passed_on_and_told(greedy: bool, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def watched(planner: Any, env: Any, episodes: int, greedy: bool = False, film: Any = None) -> Any:
        asked.append(greedy)
        return play(planner, env, episodes, greedy, film)

    monkeypatch.setattr("dreamspi.evaluate.play", watched)
    assert evaluated(run, f"greedy={str(greedy).lower()}")["greedy"] is greedy
    assert asked == [greedy]


def test_json_in_place_of_the_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", f"run={run}", "episodes=2", "json=-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["episodes"] == 2 and printed["iqm_interval"][0] <= printed["iqm"]
    assert main(["evaluate", f"run={run}", "episodes=1"]) == 0
    out = capsys.readouterr().out
    assert "maze  deterministic  deepspi  seed 0" in out and "n = 1, no interval" in out


def with_return(path: Path, value: float) -> None:
    """Gives a checkpoint another training return."""
    manifest = Checkpoint.manifest(path)
    manifest["metadata"]["return"] = value
    rewritten(path, {"manifest.json": json.dumps(manifest).encode()})


def test_checkpoints_by_name_and_by_path(run: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    first, last = sorted((mine / "checkpoints").iterdir())
    with_return(first, 2.0)
    with_return(last, 1.0)
    assert evaluated(mine)["checkpoint"] == str(last)
    assert evaluated(mine, "checkpoint=best")["checkpoint"] == str(first)
    assert evaluated(mine, f"checkpoint={first}")["env_steps"] == 64


def test_a_damaged_checkpoint_is_told_of(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a warning that names it and the one that is played with; the result names the latter as well."""
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    first, last = sorted((mine / "checkpoints").iterdir())
    with_return(first, 1.0)
    last.write_bytes(last.read_bytes()[:-1])
    for which in ("newest", "best"):
        with pytest.warns(UserWarning, match=f"{last}: damaged: .* It is skipped, {first} is used instead"):
            result = evaluated(mine, f"checkpoint={which}")
        assert (result["checkpoint"], result["env_steps"]) == (str(first), 64)
        assert f"{first} (64 steps)" in capsys.readouterr().out
    assert last.exists(), "an evaluation removes nothing"


def test_the_video_is_the_real_game(run: Path) -> None:
    """Its first picture shows the walker at the start, its length is that of the game."""
    result = evaluated(run, "video=true", "episodes=1")
    assert result["video"] == str(run / "video.mp4")
    frames = imageio.imread(run / "video.mp4", plugin="FFMPEG")
    assert evaluated(run, "episodes=1")["returns"] == result["returns"], "filming changes nothing"
    assert len(frames) - 1 - FPS == result["mean_length"]
    assert frames.shape[1:] == (210, 336, 3)
    cell = frames[0].reshape(5, 42, 8, 42, 3).mean((1, 3, 4))
    row, column = np.unravel_index(cell.argmax(), cell.shape)
    assert (row, column) == (2, 0) and cell.max() > 240
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).max() > 100, "the walker moves"


def test_a_game_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamspi.evaluate.MAX_LENGTH", 30)
    assert play(always(1), Countdown([30]), episodes=2)[1] == [30, 30]
    with pytest.raises(UserError, match="a game is still not over after 31 steps"):
        play(always(1), Countdown([4, 40]), episodes=2)


class Tossing(Countdown):
    """Pays what Python's and NumPy's own generators say, as some Gymnasium environments do."""

    def _advance(self, action: Tensor) -> Step:
        step = super()._advance(action)
        reward = torch.full_like(step.reward, random.random() + np.random.rand())
        return step._replace(reward=reward, raw_reward=reward)


def test_all_generators_are_seeded(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_agent(run)._replace(env=Tossing([3]), planner=always(1))
    monkeypatch.setattr("dreamspi.evaluate.load_agent", lambda *_, **__: loaded)
    assert evaluated(run)["returns"] == evaluated(run)["returns"]
