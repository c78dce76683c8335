"""What the runner's tests share: runs that take a second, and what must be equal between two of them."""

from __future__ import annotations

import copy
import random
import sys
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from torchrl.checkpoint import StateDictCheckpointAdapter

from dreamspi.checkpoints import CheckpointStore, load
from dreamspi.config import compose
from dreamspi.metrics_file import read_table
from dreamspi.train import train
from dreamspi.training import Training
from tests.support import tiny

ROOT = Path(__file__).parents[2]
#: How a subprocess is started as a user would.
COMMAND = [sys.executable, "-m", "dreamspi"]

#: A recurrent model that is built in no time.
RSSM = ("world_model=rssm", "world_model.deterministic=16", "world_model.hidden=32")


@cache
def _composed(words: tuple[str, ...]) -> DictConfig:
    return compose(words)


def configured(run_dir: Path, *words: str, **paces: int) -> DictConfig:
    """The configuration of a tiny run in ``run_dir``."""
    config = copy.deepcopy(_composed(tuple(tiny(*words, **paces))))
    config.run_dir = str(run_dir)
    return config


def trained(run_dir: Path, *words: str, **paces: int) -> Path:
    """A tiny run, finished."""
    assert train(configured(run_dir, *words, **paces)) == 0
    return run_dir


def learnt(config: DictConfig) -> tuple[dict[str, float], list[torch.Tensor]]:
    """What a second iteration reports, but for the clock's, and the parameters after it, on the CPU."""
    training = Training(config)
    training.start()
    training.iterate()
    found = training.iterate()
    training.close()
    named = {key: value for key, value in found.items() if not key.startswith("time/")}
    return named, [p.detach().cpu() for p in training.planner.agent.parameters()]


def resume(run_dir: Path) -> int:
    """Goes on with a run, as the command line does, in a process whose generators stand anywhere."""
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(4321)
    return train(compose([f"resume={run_dir}"]), resume=True)


def rows(run_dir: Path) -> list[dict[str, str]]:
    """``metrics.csv`` as text, without the columns of the clock."""
    columns, table = read_table(run_dir / "metrics.csv")
    kept = [column for column in columns if not column.startswith("time/")]
    return [{column: row[column] for column in kept} for row in table]


class Held:
    """Takes a component's state from a checkpoint without the component."""

    state: Any = None

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def states(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds of ``planner`` and ``actions``, its ``info``, and torch's generator."""
    held = {name: Held() for name in ("planner", "recording", "generators")}
    info = load(checkpoint, held)
    info = {key: value for key, value in info.items() if key != "seconds"}
    found = {name: component.state for name, component in held.items()}
    return found | {"generators": found["generators"]["torch_cpu"], "info": info}


def last_states(run_dir: Path) -> dict[str, Any]:
    """``states`` of the newest checkpoint of a run."""
    return states(CheckpointStore(run_dir / "checkpoints", keep=1, best_metric="return").paths()[0])


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory with its content."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def rewritten(path: Path, change: dict[str, bytes]) -> None:
    """A checkpoint with members replaced or added, and sound checksums."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()} | change
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


#: What a checkpoint is written as, one after the other.
PARTS = ("tensors", "archive")


def fill_disk(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on there is no space for one part of a checkpoint: it is written to ``/dev/full``, where the system
    refuses every byte as it does on a full disk."""
    if part == "tensors":
        monkeypatch.setattr(StateDictCheckpointAdapter, "state_torch", "/dev/full")
        return
    original: Any = zipfile.ZipFile

    def opened(path: Any, mode: str = "r", **keys: Any) -> zipfile.ZipFile:
        return original("/dev/full" if mode == "w" else path, mode, **keys)

    monkeypatch.setattr(zipfile, "ZipFile", opened)


def assert_same_bits(mine: Any, theirs: Any, where: str = "") -> None:
    """Equal in structure, and every tensor equal bit by bit."""
    assert type(mine) is type(theirs), where
    if isinstance(mine, Mapping):
        assert list(mine) == list(theirs), where
        for key in mine:
            assert_same_bits(mine[key], theirs[key], f"{where}/{key}")
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(theirs), where
        for index, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            assert_same_bits(a, b, f"{where}/{index}")
    elif isinstance(mine, torch.Tensor):
        assert mine.dtype == theirs.dtype and torch.equal(mine, theirs), where
    else:
        assert mine == theirs, where


def assert_same_run(mine: Path, theirs: Path) -> None:
    """Same metrics but for the clock's, and same learner in the end, bit by bit."""
    assert rows(mine) == rows(theirs)
    assert len(rows(mine)) > 0
    assert_same_bits(last_states(mine), last_states(theirs))


def assert_resumes_as(run: Path, uninterrupted: Path) -> None:
    """It goes on to its end, which is the same as that of one that was never interrupted."""
    assert resume(run) == 0
    assert_same_run(run, uninterrupted)
