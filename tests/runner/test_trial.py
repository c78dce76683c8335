"""Faulty world models of one's own: each is refused before anything is trained, in one line that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamspi.trial import is_from_outside
from tests.runner.support import rows, trained
from tests.support import refused

MODELS = """
import torch
from world_models.contract import Unsuited
from world_models.normal import NormalModel
from world_models.costs import SmoothL1


class Sound(NormalModel):
    pass


class Alien(torch.nn.Module):
    def __init__(self, observation_spec, num_actions):
        super().__init__()


class Blank(NormalModel):
    def __init__(self, observation_spec, num_actions):
        super().__init__(observation_spec, num_actions)
        del self.latent_spec


class Columns(NormalModel):
    def reward(self, latent, action):
        return super().reward(latent, action).unsqueeze(-1)


class Keyless(NormalModel):
    def local_losses(self, *given):
        return super().local_losses(*given).exclude("termination")


class Logit(NormalModel):
    def termination(self, latent, action, next_latent):
        return 9.0 * super().termination(latent, action, next_latent) - 3.0


class Endless(NormalModel):
    def reward(self, latent, action):
        return super().reward(latent, action) / 0.0


class Precise(NormalModel):
    def encode(self, observation):
        return super().encode(observation).double()


class Unkeyed(NormalModel):
    def __init__(self, observation_spec, num_actions):
        super().__init__(observation_spec, num_actions)
        self.width = {}["width"]


class Picky(NormalModel):
    def encode(self, observation):
        if observation.unique().numel() > 30:
            raise Unsuited("seen too much")
        return super().encode(observation)


class Clumsy(NormalModel):
    def transition(self, latent, action):
        return super().transition(latent @ latent, action)


class Halved(SmoothL1):
    def __call__(self, predicted, target):
        return super().__call__(predicted, target).mean()
"""


@pytest.fixture(autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path_factory.mktemp("site")
    (site / "own").mkdir()
    (site / "own" / "__init__.py").touch()
    (site / "own" / "model.py").write_text(MODELS)
    (site / "own" / "unread.py").write_text("import os\nimport torchh\n")
    monkeypatch.syspath_prepend(site)
    yield site / "own"
    for name in [name for name in sys.modules if name.partition(".")[0] == "own"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["own.model.Alien"], ["Alien is no subclass of world_models.contract.WorldModel"]),
        (["own.model.Blank"], ["expected latent_spec, set in __init__; got none"]),
        (["own.model.Columns"], ["expected reward: a finite tensor [] of torch.float32; got [1]", "look at reward."]),
        (["own.model.Keyless"], ["keys transition, reward, termination; got the keys reward, transition"]),
        (["own.model.Logit"], ["termination: probabilities in [0, 1]", "look at termination"]),
        (["own.model.Endless"], ["got values that are not finite; look at reward"]),
        (["own.model.Precise"], ["expected encode: a finite tensor [64] of torch.float32; got [64] of torch.float64"]),
        (["own.model.Clumsy"], ["in float32; got ", "Error: ", "look at /", "own/model.py:", ", in transition"]),
        (["own.model.Unkeyed"], ["KeyError: 'width' (/", "own/model.py:"]),
        (["own.model.Sound", "+world_model.wdth=9"], ["world_model=own.model.Sound: ", "argument 'wdth'"]),
        (["own.model.Sonud"], ["own.model has no Sonud. Did you mean Sound"]),
        (["own.modle.Sound"], ["ModuleNotFoundError: No module named 'own.modle'. Python finds it once its package"]),
        (["own.unread.Sound"], ["own.unread.Sound: ModuleNotFoundError: No module named 'torchh'", "unread.py:2"]),
        (
            ["normal", "world_model.cost._target_=own.model.Halved"],
            [
                "expected local_losses: ",
                "look at local_losses",
                "with the same env= and world_model words tries all of it",
            ],
        ),
        (["normal", "world_model.cost._target_=Halved"], ["Halved: name a class as package.module.Class."]),
    ],
)
def test_a_fault_is_told_before_training(
    words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = words
    told = refused(["train", f"world_model={name}", *rest], capsys)
    assert told.startswith(f"world_model={name}: ")
    for part in parts:
        assert part in told


def test_a_device_that_is_not_there_is_no_fault_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["train", "world_model=own.model.Sound", "device=cuda:99"], capsys)
    assert told.startswith("device=cuda:99: torch finds no such device here.")


def test_it_trains_as_if_it_had_not_been_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = trained(tmp_path / "tried", "world_model=own.model.Sound")
    monkeypatch.setattr("dreamspi.trial.try_out", lambda config: None)
    assert rows(trained(tmp_path / "not", "world_model=own.model.Sound")) == rows(tried)


def test_what_refuses_random_observations_may_suit_those_of_the_environment(tmp_path: Path) -> None:
    trained(tmp_path / "run", "world_model=own.model.Picky")


def test_what_is_from_outside() -> None:
    ours = {"_target_": "world_models.normal.NormalModel", "cost": {"_target_": "world_models.costs.SmoothL1"}}
    assert not is_from_outside(ours | {"encoder": "auto", "members": [ours], "width": 3, "hidden": None})
    assert is_from_outside(ours | {"_target_": "own.model.Sound"})
    assert is_from_outside(ours | {"cost": {"_target_": "own.model.Halved"}})
    assert is_from_outside(ours | {"members": [ours, {"_target_": "own.model.Sound"}]})
