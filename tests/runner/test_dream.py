"""``dreamspi dream`` as a user runs it: the table, the files, the film, and wrong input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torch.distributions import Distribution
from torchrl.data import Bounded, Unbounded
from torchrl.modules import Delta

from dreamspi.cli import main
from dreamspi.dream import Options, look, parse_options
from dreamspi.dream_film import DECODED, NEAREST, Played, decoded, drawn, dream_along, nearest, play, steps_dreamt
from dreamspi.episodes import play_episodes
from dreamspi.errors import UserError
from planners.agent import Agent
from tests.planners.drift import Drift
from tests.runner.countdown import Countdown
from tests.runner.support import trained
from world_models.base import event
from world_models.recurrent import RecurrentModel

QUICK = ["episodes=6", "num_envs=3", "horizon=5"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("dream")
    words = {"dreamspi": ["planner=dreamspi"], "normal": ["planner=deepspi", "world_model=normal"], "ppo": []}
    return {name: trained(base / name, "env.max_steps=40", *words[name], checkpoint=1) for name in words}


def looked_into(run: Path, *words: str) -> dict[str, Any]:
    assert main(["dream", f"run={run}", *QUICK, *words]) == 0
    return json.loads((run / "dream.json").read_text())


def test_the_table_and_the_files(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = looked_into(runs["dreamspi"])
    told = capsys.readouterr().out
    for word in (
        "latent error",
        "reward error",
        "value error",
        "calibration error",
        "real return of 5 steps",
        "to the",
    ):
        assert word in told
    assert "dreaming the mean" not in told, "the same as the dream, where nothing is random"
    assert (found["horizon"], found["episodes"], found["env_steps"]) == (5, 6, 64)
    sampled = found["sampled"]
    assert sampled == found["mean"]
    assert all(len(sampled[key]) == 5 for key in ("counted", "latent_error", "reward_error", "value_error"))
    assert sampled["counted"] == sorted(sampled["counted"], reverse=True)
    assert sampled["termination"]["bins"] and found["value"]["count"] > 0
    assert imageio.imread(runs["dreamspi"] / "dream.png").shape[:2] == (880, 1210)


def test_a_random_model_dreams_its_mean_too(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = looked_into(runs["normal"])
    assert "dreaming the mean" in capsys.readouterr().out
    assert found["sampled"]["latent_error"] != found["mean"]["latent_error"]
    assert found["sampled"]["counted"] == found["mean"]["counted"]


def test_the_same_seed_gives_the_same_numbers(runs: dict[str, Path], tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        looked_into(runs["normal"], f"seed={seed}", f"json={tmp_path / name}")
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1] != texts[2]


def test_json_in_place_of_the_table(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = looked_into(runs["dreamspi"], "json=-")
    assert json.loads(capsys.readouterr().out) == found


def test_a_damaged_checkpoint_is_skipped(runs: dict[str, Path], tmp_path: Path) -> None:
    mine = Path(shutil.copytree(runs["dreamspi"], tmp_path / "run"))
    first, last = sorted((mine / "checkpoints").iterdir())
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=f"{last}: damaged: .* It is skipped"):
        assert looked_into(mine)["checkpoint"] == str(first)


def test_help_mentions_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dream", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}=" in text for name in Options._fields)
    assert main(["dream"]) == 2, "nothing was asked for"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run=<run_dir> is missing"),
        (["run=x", "horizn=3"], "Did you mean horizon"),
        (["run=x", "horizon=0"], "horizon=0"),
        (["run=x", "episodes=0"], "episodes=0"),
        (["run=x", "episodes=many"], "a whole number"),
        (["run=x", "video=perhaps"], "true or false"),
        (["run=x", "seed=-1"], "seed=-1"),
        (["run=x", "json=/no/such/place/x.json"], "no directory"),
        (["run=x", "device=tpu"], "device=tpu"),
    ],
)
def test_wrong_input(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_options(words)


@pytest.mark.parametrize(("most", "horizon"), [(3, 3), (40, 8)])
def test_by_default_a_dream_is_no_longer_than_the_longest_episode(
    most: int, horizon: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path / "run", f"env.max_steps={most}", "planner=deepspi", checkpoint=1)
    assert main(["dream", f"run={run}", "episodes=6", "num_envs=3"]) == 0
    found = json.loads((run / "dream.json").read_text())
    assert found["horizon"] == len(found["sampled"]["latent_error"]) == horizon
    assert all(count > 0 for count in found["sampled"]["counted"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=/nowhere"], "no such run directory"),
        (["planner=ppo"], "learns no world model"),
        (["planner=dreamspi", "horizon=41"], "horizon=41: longer than every episode; the longest of 6 has"),
        (["planner=dreamspi", "checkpoint=bset"], "checkpoint=bset"),
    ],
)
def test_what_cannot_dream(
    runs: dict[str, Path], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"run={runs[word[8:]]}" if word.startswith("planner=") else word for word in words]
    assert main(["dream", *QUICK, *given]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


# ------------------------------------------------------------------ the film


def test_the_film_changes_no_number(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dreamspi.dream_film.SHOWN", 12)
    monkeypatch.setattr("dreamspi.dream_film.BANK", 20)
    before = looked_into(runs["dreamspi"])
    after = looked_into(runs["dreamspi"], "video=true")
    video = Path(after.pop("video"))
    assert after == before and str(video) in capsys.readouterr().out
    frames = imageio.imread(video, plugin="FFMPEG")
    assert len(frames) == 12
    left, right = frames[:, :, :400].astype(int), frames[:, :, 400:].astype(int)
    assert np.abs(np.diff(left, axis=0)).max() > 100 and np.abs(np.diff(right, axis=0)).max() > 100


def test_how_old_a_dream_is() -> None:
    done = torch.tensor([False, False, False, False, True, False, True, False])
    assert steps_dreamt(done, 3) == [1, 2, 3, 1, 2, 1, 2, 1]


def test_the_nearest_frame_of_other_games() -> None:
    places = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [0.0, 5.0]]])
    after = TensorDict({"observation": places, "done": torch.ones(1, 3, 1, dtype=torch.bool)}, [1, 3])
    bank = Played(
        TensorDict({"observation": places, "next": after}, [1, 3]),
        [np.full((2, 2, 3), shade, dtype=np.uint8) for shade in (10, 20, 30)],
    )
    shown = nearest(Drift(), torch.tensor([[2.6, 1.0], [0.0, 4.0], [0.1, 0.0]]), bank)
    assert [int(frame[0, 0, 0]) for frame in shown.frames] == [20, 30, 10]
    assert shown.how == NEAREST


def test_what_is_decoded_is_shown_as_it_is() -> None:
    spec = Bounded(0, 200, shape=(1, 2, 2), dtype=torch.uint8)
    picture = torch.tensor([[[0.0, 100.0], [200.0, 250.0]]])
    model: Any = SimpleNamespace(observation_spec=spec, decode=lambda latent: picture.expand(len(latent), 1, 2, 2))
    shown = decoded(model, torch.zeros(3, 5))
    assert shown is not None and shown.how == DECODED and len(shown.frames) == 3
    assert shown.frames[0][::168, ::168, 0].tolist() == [[0, 127], [255, 255]]
    model.decode = lambda latent: latent
    assert decoded(model, torch.zeros(3, 5)) is None, "no picture"
    assert decoded(Drift(), torch.zeros(3, 2)) is None


def test_colours_are_colours_and_layers_are_laid_over_each_other() -> None:
    assert drawn(np.eye(3).reshape(3, 3, 1))[::112, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert drawn(np.array([0.2, 0.8]).reshape(2, 1, 1))[0, 0].tolist() == [204, 204, 204]


# ------------------------------------------------------------------ a model with a memory


class Counting(RecurrentModel):
    """Its memory counts the steps of the episode, and its dreams go on counting."""

    def __init__(self) -> None:
        super().__init__(Unbounded(3), 3)
        self.latent_spec, self.memory_spec, self.encoder = Unbounded(4), Unbounded(1), torch.nn.Identity()

    def embed(self, observation: Tensor) -> Tensor:
        return observation

    def infer(self, embedding: Tensor, memory: Tensor) -> Tensor:
        return torch.cat((embedding, memory), -1)

    def remember(self, latent: Tensor, action: Tensor) -> Tensor:
        return latent[..., 3:] + 1.0

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        return event(Delta(latent + torch.tensor([0.0, 0.0, 0.0, 1.0])), 1)

    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        return (action == 1).float()

    def termination(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        return (next_latent[..., 3] == 7.0).float()

    def local_losses(self, *args: Tensor) -> TensorDict:
        raise NotImplementedError

    def local_distances(self, *args: Tensor) -> TensorDict:
        raise NotImplementedError


def test_a_model_with_a_memory_dreams_from_what_it_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamspi.dream.PIECE", 10)
    agent = Agent(Counting(), hidden=4)
    planner: Any = SimpleNamespace(
        agent=agent, policy=agent.policy(), memory_spec=Unbounded(1), device=torch.device("cpu"), gamma=0.9
    )
    found = look(planner, play_episodes(planner, Countdown([7, 7]), 6).unsqueeze(0), 5).sampled
    assert found.counted == [38, 33, 28, 23, 18]
    assert found.latent_error == found.reward_error == [0.0] * 5
    assert found.termination.error == found.returns.error == 0.0
    real = play(planner, Countdown([7]), 15).experience
    dream = dream_along(agent.world_model, real, steps_dreamt(real["next", "done"].flatten(), 5))
    assert dream.next_latent[:, 3].tolist() == [*range(1, 8), *range(1, 8), 1]
