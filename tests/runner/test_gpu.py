"""A whole run on a GPU, as far as a machine without one can tell: every tensor is where it should be."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from dreamspi.catalogue import options
from dreamspi.cli import main
from dreamspi.config import compose
from dreamspi.train import train
from planners.experience import take
from tests import gpu
from tests.runner.interrupted import kill_before
from tests.runner.support import RSSM, configured, learnt, rows, trained
from tests.support import tiny


def metrics(run_dir: Path, device: str, words: tuple[str, ...]) -> tuple[dict[str, float], list[torch.Tensor]]:
    """What two iterations report, the second diagnosed and certified, and the parameters after them."""
    config = configured(run_dir, "certify_every=2", *words)
    config.device = device
    return learnt(config)


def numbers(run: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, without empty cells and the clock's columns."""
    return [{key: float(value) for key, value in row.items() if value} for row in rows(run)]


SLOW = pytest.mark.slow
OTHERS = sorted(set(options("planner")) - {"dreamspi", "ppo"})
MODELS = {name: (f"world_model={name}",) for name in options("world_model")} | {"rssm": RSSM}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("planner=dreamspi",), id="dreamspi"),
        pytest.param(("planner=ppo",), id="ppo"),
        *(pytest.param((f"planner={name}",), id=name, marks=SLOW) for name in OTHERS),
        pytest.param(("planner=hybrid", "planner.neighborhood=stop"), id="stop", marks=SLOW),
        pytest.param(("planner=hybrid", "planner.neighborhood=project"), id="project", marks=SLOW),
        *(pytest.param(("planner=dreamspi", *words), id=name, marks=SLOW) for name, words in MODELS.items()),
    ],
)
def test_it_learns_what_it_learns_on_a_cpu(words: tuple[str, ...], tmp_path: Path) -> None:
    row, parameters = metrics(tmp_path, "cpu", words)
    with gpu.present():
        there, others = metrics(tmp_path, gpu.GPU, words)
    assert there == pytest.approx(row, rel=1e-5, abs=1e-6, nan_ok=True)
    for mine, other in zip(parameters, others, strict=True):
        torch.testing.assert_close(other, mine)


def test_tensors_of_both_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without which the tests above would show nothing."""
    with gpu.present():
        there = torch.ones(2, device=gpu.GPU)
        assert (there * 2.0 + torch.tensor(1.0)).cpu().tolist() == [3.0, 3.0]
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(2)
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        monkeypatch.setattr("planners.ground.take", lambda batch, indices: take(batch.cpu(), indices))
        with pytest.raises(RuntimeError, match="same device"):
            metrics(tmp_path, gpu.GPU, ("planner=ppo",))


@pytest.mark.parametrize("model", [(), pytest.param(RSSM, marks=SLOW)], ids=["deterministic", "rssm"])
def test_every_command(model: tuple[str, ...], tmp_path: Path) -> None:
    words = [f"run={tmp_path / 'run'}", f"device={gpu.GPU}", "episodes=2"]
    run = tiny("planner=dreamspi", "env.max_steps=6", *model, f"run_dir={tmp_path / 'run'}", f"device={gpu.GPU}")
    with gpu.present():
        assert main(["train", *run]) == 0
        assert [main([command, *words]) for command in ("evaluate", "certify", "dream")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("planner", "goes_on"),
    [("dreamspi", "cpu"), pytest.param("dreamspi", gpu.GPU, marks=SLOW), ("deepspi_replay", gpu.GPU)],
)
def test_a_killed_run_goes_on_on_either(
    planner: str, goes_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with games that are played again from the last barrier on."""
    words, paces = (f"planner={planner}", "log_every=1"), {"iterations": 5, "checkpoint": 3, "barrier": 2}
    trained(tmp_path / "whole", *words, **paces)
    config = configured(tmp_path / "run", *words, **paces)
    config.device = gpu.GPU
    with gpu.present():
        kill_before(4, lambda: train(config), monkeypatch)
    with gpu.present() if goes_on == gpu.GPU else nullcontext():
        assert train(compose([f"resume={tmp_path / 'run'}", f"device={goes_on}"]), resume=True) == 0
    for mine, other in zip(numbers(tmp_path / "run"), numbers(tmp_path / "whole"), strict=True):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-5)
