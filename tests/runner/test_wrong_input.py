"""Wrong input: one line that names key, value and what is allowed; exit code 2; nothing left behind."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dreamspi.catalogue import options
from dreamspi.checkpoints import CheckpointStore
from dreamspi.cli import main
from tests.runner.support import PARTS, assert_same_run, files_of, fill_disk, trained
from tests.support import refused, tiny


def train_words(*words: str) -> list[str]:
    """A tiny run in ``run``, with these words in the place of its own or after them."""
    keys = {word.partition("=")[0] for word in words}
    return ["train", *tiny("run_dir=run", without=keys), *words]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("trian", ["trian: no such command. Did you mean train?", "Commands: train, study, report, evaluate, certify"]),
        ("play now", ["play: no such command", "train, study, report, evaluate, certify"]),
        ("list planers", ["list=planers", "Did you mean planners", "envs, world_models, planners, experiments"]),
        ("train seed", ["seed: not understood", "key=value"]),
        ("train seed =1", ["not understood", "without spaces"]),
        ("train ~seed", ["~seed: keys can't be removed"]),
        ("train +planner=ppo", ["+planner=ppo: write planner=<name>"]),
        ("train --multirn seed=1,2", ["--multirn: no such flag. Did you mean --multirun?"]),
        ("train seed=1,2", ["several values for one key are a multi-run: add -m"]),
        ("train planner=ppo,deepspi", ["several values for one key are a multi-run: add -m"]),
        ("train -m seed=1,two", ["seed=two: must be a whole number"]),
        ("train -m resume=nowhere", ["nowhere: no such run directory"]),
        ("train log_every=4 certify_every=6", ["certify_every=6: must be a multiple of log_every=4"]),
        ("train planner.dream.ends=never", ["planner.dream.ends=never", "expected, sampled"]),
        ("train planner.ground.share=0", ["planner.ground.share=0"]),
        ("train resume=nowhere", ["nowhere: no such run directory"]),
        ("train resume=.", [".: not a run directory, it holds no config.yaml"]),
        ("evaluate episodes=3", ["run=<run_dir> is missing"]),
        ("evaluate run=nowhere", ["nowhere: no such run directory"]),
        ("evaluate run=.", ["not a run directory"]),
        ("evaluate run=x episods=3", ["episods: no such key here. Did you mean episodes?", "checkpoint, greedy, seed"]),
        ("evaluate run=x episodes=0", ["episodes=0: must be at least 1"]),
        ("evaluate run=x episodes=many", ["episodes=many: must be a whole number"]),
        ("evaluate run=x episodes=1,2", ["episodes=1,2: must be a whole number"]),
        ("evaluate run=a,b", ["a,b: no such run directory"]),
        ("train resume=", ["resume=: needs the directory of a run"]),
        ("evaluate run=2024_01", ["2024_01: no such run directory"]),
        ("train resume=2024_01", ["2024_01: no such run directory"]),
        ("evaluate run=x num_envs=-1", ["num_envs=-1: must be at least 1"]),
        ("evaluate run=x video=perhaps", ["video=perhaps: must be true or false"]),
        ("evaluate run=x greedy=1", ["greedy=1: must be true or false"]),
        ("evaluate run=x seed=-1", ["seed=-1: must be a whole number from 0 to 2^32 - 1"]),
    ],
)
def test_wrong_words(words: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(words.split(), capsys)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        # names
        ("env=maez", ["env=maez: no such name. Did you mean maze?", "atari/<name>", "minatar/<name>"]),
        ("env=minatar/breakuot", ["env=minatar/breakuot", "Did you mean minatar/breakout", "minatar/space_invaders"]),
        ("env=atari/pnog", ["env=atari/pnog", "Did you mean atari/Pong", "atari/Breakout"]),
        ("env=gym/CartPole-v11", ["CartPole-v11", "Did you mean CartPole-v1", "Allowed: "]),
        ("env=gym/nowhere:Game-v0", ["nowhere:Game-v0", "No module named 'nowhere'"]),
        ("env=gym/", ["env=gym/: nothing after the slash"]),
        ("env=maze/large", ["env=maze/large: maze has no names after a slash; write env=maze"]),
        ("experiment=no_such_preset", ["experiment=no_such_preset: no such name", "Allowed: "]),
        ("logger=tensorbord", ["logger=tensorbord", "Did you mean tensorboard?", "csv, mlflow, none"]),
        # keys
        ("num_env=4", ["num_env: no such key here. Did you mean num_envs"]),
        ("C=1.2", ["C: no such key here. Did you mean planner.C"]),
        ("checkpoint.evry=10", ["checkpoint.evry: no such key here. Did you mean checkpoint.every"]),
        ("planner.dream.horizon=4", ["planner.dream.horizon: no such key here"]),  # ppo has no dream
        ("+invented=1", ["invented: no such key here"]),
        ("+world_model.invented=1", ["world_model.invented: no such key here"]),
        ("+world_model.cost.betta=2", ["unexpected keyword argument 'betta'"]),
        # types
        ("num_envs=eight", ["num_envs=eight: must be a whole number"]),
        ("num_envs=2.5", ["num_envs=2.5: must be a whole number"]),
        ("num_envs=true", ["num_envs=True: must be a whole number"]),
        ("seed=null", ["seed=None: must be a whole number"]),
        ("gamma=high", ["gamma=high: must be a number"]),
        ("planner.hidden=wide", ["planner.hidden=wide: must be a whole number"]),
        ("planner.C=[1.1]", ["planner.C=[1.1]: must be a number"]),
        ("device=[cpu]", ["device=['cpu']: must be a word"]),
        ("collector=ray", ["collector=ray: has keys of its own", "collector.backend"]),
        ("world_model.cost=Squared", ["write world_model.cost._target_=world_models.costs.Squared"]),
        ("planner.heads=2", ["planner.heads=2: is built by a class", "planners.heads.Heads"]),
        ("planner.heads=separateheads", ["write planner.heads._target_=planners.heads.SeparateHeads, for example"]),
        ("planner.ground.utility=null", ["planner.ground.utility=null: planners.ground.Ground can't do without it"]),
        ("planner.ground.entropy=null", ["planner.ground.entropy=null: ", "(float)"]),
        ("planner.ground.optimizers=null", ["planner.ground.optimizers=null: "]),
        ("planner.certificate=null", ["planner.certificate=null: planners.planner.Planner can't do without it"]),
        ("world_model.reward=null", ["world_model.reward=null: "]),
        ("env.max_steps=null", ["env.max_steps=null: dreamspi.envs.maze.MazeEnv can't do without it (int)"]),
        ("collector.workers=0", ["collector.workers=0: must be a whole number of at least 1"]),
        ("collector.workers=null", ["collector.workers=None: must be a whole number of at least 1"]),
        ("planner.neighborhood=hard", ["planner.neighborhood=hard", "clip, drift, stop, project"]),
        # ranges
        ("seed=-1", ["seed=-1: must be a whole number from 0 to 2^32 - 1"]),
        ("seed=4294967296", ["seed=4294967296: must be a whole number from 0 to 2^32 - 1"]),
        ("gamma=1.01", ["gamma=1.01: must be from 0 to 1"]),
        ("threads=0", ["threads=0: must be a whole number of at least 1, or null"]),
        ("log_every=0", ["log_every=0: must be a whole number of at least 1"]),
        ("checkpoint.keep=0", ["checkpoint.keep=0: must be a whole number of at least 1"]),
        ("checkpoint.barrier=0", ["checkpoint.barrier=0: must be a whole number of at least 1"]),
        ("total_steps=31", ["total_steps=31: less than one batch of num_envs * num_steps = 32 steps"]),
        ("planner.C=1", ["planner.C=1: must be above 1 and below 2"]),
        ("planner.C=2.0", ["planner.C=2.0: must be above 1 and below 2"]),
        ("planner.C=0.9", ["planner.C=0.9: must be above 1 and below 2"]),
        ("planner.gamma=1.5", ["gamma=1.5: from 0 to 1"]),
        ("planner.hidden=-1", ["planner.hidden=-1: at least 1"]),
        ("world_model.network.hidden=-1", ["world_model.network.hidden=-1: must be at least 1"]),
        (
            "world_model.network.hidden=[8,0]",
            ["world_model.network.hidden=[8, 0]: one number or more, each at least 1"],
        ),
        ("world_model.network.hidden=wide", ["world_model.network.hidden=wide: must be a whole number of at least 1"]),
        ("device=gpu", ["device=gpu: must be cpu, cuda or cuda:<index>"]),
        ("device=cuda:99", ["device=cuda:99: torch finds no such device here. Allowed: cpu"]),
        ("env.max_steps=-1", ["env.max_steps=-1: must be at least 0"]),
        # what does not fit together
        ("world_model.encoder=nature_cnn", ["world_model.encoder=nature_cnn", "at least 36x36", "[1, 5, 8]", "mlp"]),
        ("world_model.encoder=nature_cn", ["world_model.encoder=nature_cn", "Did you mean nature_cnn?"]),
        ("env=gym/Pendulum-v1", ["Pendulum-v1: its action space is Box", "only Discrete actions"]),
        ("env=gym/Blackjack-v1", ["Blackjack-v1: its observation space is Tuple", "flat Box"]),
        ("planner.ground.minibatches=3", ["planner.ground.minibatches=3 does not divide the 8 segments"]),
        ("planner.ground.segment=3", ["planner.ground.segment=3 does not divide num_steps=4"]),
        ("collector.backend=thread", ["collector.backend=thread: no such name", "direct, process, overlap"]),
        # the disk
        ("run_dir=full", ["run_dir=full: exists already", "resume=full", "name another directory"]),
        ("run_dir=full/file", ["run_dir=full/file: exists already"]),
        ("run_dir=full/file/below", ["run_dir=full/file/below: can't be written"]),
        ("run_dir=/proc/none/run", ["run_dir=/proc/none/run: "]),
        ("logger._target_=torchrl.record.loggers.NoLogger", ["logger NoLogger: can't start"]),
    ],
)
def test_wrong_values(word: str, parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    message = refused(train_words(word), capsys)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["planner=deepsip"], ["planner=deepsip: no such name. Did you mean deepspi", *options("planner")]),
        (["world_model=normla"], ["world_model=normla: no such name. Did you mean normal", *options("world_model")]),
        (
            ["experiment=paper_dreamspi", "planner=ppo"],
            ["planner=ppo: experiment=paper_dreamspi sets keys that are for planner=dreamspi. Leave planner= out"],
        ),
        (["planner.dream.minibatches=5", "planner=dreamspi"], ["planner.dream.minibatches=5 does not divide"]),
        (["planner.dream.horizon=0", "planner=dreamspi"], ["planner.dream.horizon=0"]),
        (
            ["planner=deepspi", "world_model.cost._target_=world_models.costs.Likelihood"],
            ["world_model.cost=Likelihood: ", "has no likelihood to train on"],
        ),
        (
            ["planner=deepspi", "world_model.cost._target_=world_models.costs.CrossEntropy"],
            ["world_model.cost=CrossEntropy: for one-hot latents"],
        ),
        (["collector.backend=process", "collector.workers=3"], ["collector.workers=3: must", "divide num_envs=8"]),
        (
            ["collector.backend=overlap", "planner.neighborhood=project"],
            ["planner.neighborhood=project: enforced around", "Allowed there: clip, drift"],
        ),
        (
            ["collector.backend=process", "collector.workers=0"],
            ["collector.workers=0: must be a whole number of at least 1"],
        ),
    ],
)
def test_wrong_choices(words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(train_words(*words), capsys)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk(named: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 2**20))
    message = refused(train_words() if named else ["train", *tiny()], capsys)
    assert "5 MB free on its disk, a run needs 200 MB at least" in message


@pytest.mark.parametrize("part", PARTS)
def test_a_disk_that_fills_up(part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The run is broken off with its checkpoints in order, and can go on once there is space."""
    save, left = CheckpointStore.save, []

    def full(store: CheckpointStore, *arguments: Any) -> Path:
        if store.paths():
            left.append(files_of(store.directory))
            fill_disk(part, patch)
        return save(store, *arguments)

    words = tiny("env.max_steps=9", iterations=3, checkpoint=1)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", full)
        assert main(["train", *words, "run_dir=run"]) == 2
    good = "run/checkpoints/checkpoint-000000000032.torchrl"
    assert capsys.readouterr().err == f"dreamspi: no space left on the disk; last good checkpoint: {good}.\n"
    assert left == [files_of(Path("run/checkpoints"))]
    assert main(["train", "resume=run"]) == 0
    assert main(["train", *words, "run_dir=other"]) == 0
    assert_same_run(Path("run"), Path("other"))


def test_a_disk_that_fills_up_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fill_disk("tensors", monkeypatch)
    assert main(["train", *tiny(), "run_dir=run"]) == 2
    assert capsys.readouterr().err == "dreamspi: no space left on the disk; last good checkpoint: none.\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_elsewhere(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An evaluation that can't write its result, or a share of the disk that is used up."""

    def full(*_: Any) -> None:
        raise OSError(number, "the system's words")

    trained(Path("run"))
    monkeypatch.setattr("dreamspi.evaluate.write_atomically", full)
    capsys.readouterr()
    assert main(["evaluate", "run=run", "episodes=1", "json=result.json"]) == 2
    assert capsys.readouterr().err == "dreamspi: no space left on the disk.\n"


def test_a_failed_start_does_not_take_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The same line, corrected, works at once."""
    refused(train_words("planner.ground.minibatches=3"), capsys)
    refused(train_words("logger._target_=torchrl.record.loggers.NoLogger"), capsys)
    assert main(train_words()) == 0


def test_a_run_directory_with_a_number_for_a_name(tmp_path: Path) -> None:
    assert main(["train", *tiny(), "run_dir=7"]) == 0
    assert main(["train", "resume=7"]) == 0
    assert main(["evaluate", "run=7", "episodes=1"]) == 0
    assert (tmp_path / "7" / "config.yaml").is_file()


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert main(train_words()) == 0


@pytest.mark.parametrize("word", ["seed=1", "planner.C=1.2", "num_envs=4", "planner=ppo", "checkpoint.every=32"])
def test_a_resumed_run_keeps_its_configuration(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path / "run")
    message = refused(["train", "resume=run", word], capsys)
    assert message.startswith(f"{word}: a resumed run keeps its configuration")
    assert "device, threads, checkpoint.keep" in message


@pytest.mark.parametrize("content", ["", "env: maze", "[1, 2]", "{", "seed: !!python/object/apply:os.getcwd []"])
def test_a_damaged_configuration(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(content)
    for words in (["train", "resume=run"], ["evaluate", "run=run"]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith("dreamspi: run/config.yaml: ") and "Traceback" not in err


def test_a_run_whose_checkpoints_are_all_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.write_bytes(b"")
    capsys.readouterr()
    with pytest.warns(UserWarning, match="damaged"):
        assert main(["train", "resume=run"]) == 2
    assert capsys.readouterr().err == "dreamspi: run/checkpoints: holds no good checkpoint.\n"
    with pytest.warns(UserWarning, match="damaged"):
        message = refused(["evaluate", "run=run"], capsys)
    assert message == "run/checkpoints: holds no good checkpoint."
    assert "checkpoint=nowhere" in refused(["evaluate", "run=run", "checkpoint=nowhere"], capsys)
