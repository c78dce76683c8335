"""``dreamspi check``: a line for each check, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamspi.check import check
from dreamspi.cli import main
from tests.support import refused
from world_models.checks import CHECKS, ONCE, Check
from world_models.checks.shapes import devices, probabilities, shapes

BAD = """
from world_models.normal import NormalModel


class Logit(NormalModel):
    def termination(self, latent, action, next_latent):
        return self.termination_head.logit(latent, action, next_latent)


class Clumsy(NormalModel):
    def transition(self, latent, action):
        return super().transition(latent @ latent, action)


class Unbuilt(NormalModel):
    def __init__(self, observation_spec, num_actions):
        self.width = self.nothing
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "faulty.py").write_text(BAD)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    sys.modules.pop("faulty", None)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[Check, ...]:
    """Only the fast checks: what each finds is told elsewhere."""
    checks = (shapes, devices, probabilities)
    monkeypatch.setattr("dreamspi.check.CHECKS", checks)
    return checks


def answer(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = main(["check", *words.split()])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out.splitlines()


def test_a_model_in_an_environment(capsys: pytest.CaptureFixture[str]) -> None:
    """All checks, on what the maze shows."""
    code, lines = answer("deterministic env=maze", capsys)
    assert code == 0 and lines[0] == "world_model=deterministic"
    assert [line.split()[:2][1] for line in lines[1:-1]] == [check.__name__ for check in CHECKS]
    assert {line.split()[0] for line in lines[1:-1]} == {"ok", "skipped"} and lines[-1].endswith("skipped.")
    assert set(ONCE) < set(CHECKS)


def test_what_is_refused_is_told(few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = answer("tabular", capsys)
    assert code == 0 and [line.split()[:2] for line in lines[1:3]] == [["refused", "flat"], ["refused", "image"]]
    assert "needs an observation that a table can hold" in lines[1] and len(lines) == 1 + 2 + len(few) + 1


def test_all_models(few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = answer("all env=maze", capsys)
    assert code == 0 and "world_model=tabular" in lines and "world_model=deterministic" in lines


def test_of_all_models_some_may_refuse(few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = answer("all env=gym/CartPole-v1", capsys)
    refused = lines.index("world_model=tabular") + 1
    assert code == 0 and lines[refused].startswith("  refused  world_model=tabular: needs an observation that a table")
    assert lines[refused + 1] == "world_model=transformer" and lines[-1] == "2 ok, 1 skipped."


def test_that_all_refuse_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert check([["world_model=tabular", "env=gym/CartPole-v1"]] * 2) == 2
    assert capsys.readouterr().out.count("world_model=tabular\n  refused  ") == 2


def test_an_encoder_suits_some_kinds(few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = answer("deterministic world_model.encoder=nature_cnn", capsys)
    told = [line.split()[:2] for line in lines[1:4]]
    assert code == 0 and told == [["refused", kind] for kind in ("flat", "number", "minatar")]
    assert "world_model.encoder=nature_cnn: nature_cnn needs a picture" in lines[1] and lines[4].startswith("  ok ")


def test_a_cost_that_does_not_fit(few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "deterministic", "world_model.cost._target_=world_models.costs.CrossEntropy"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "world_model.cost=CrossEntropy: for one-hot latents" in err and "SmoothL1" in err


@pytest.mark.parametrize("words", ["faulty.Logit", "world_model=faulty.Logit", "world_model._target_=faulty.Logit"])
def test_a_failure(words: str, few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = answer(words, capsys)
    assert code == 1 and lines[0] == "world_model=faulty.Logit"
    (failed,) = [number for number, line in enumerate(lines) if line.startswith("  FAILED ")]
    told = [line.strip().partition(":")[0] for line in lines[failed : failed + 4]]
    assert lines[failed].split() == ["FAILED", "probabilities", "on", "flat"]
    assert told[1:] == ["expected", "got", "look at"] and lines[-1].startswith("1 FAILED, ")


def test_a_model_that_can_not_be_built(few: tuple[Check, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = answer("faulty.Unbuilt", capsys)
    text = "\n".join(lines)
    assert code == 1 and "AttributeError: 'Unbuilt' object has no attribute 'nothing'" in text
    assert "faulty.py:17, in __init__" in text


def test_after_wrong_shapes_what_comes_to_grief_is_told_shortly(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors far inside, of tensors that do not match."""
    code, lines = answer("faulty.Clumsy env=maze", capsys)
    assert code == 1 and lines[1].split() == ["FAILED", "shapes", "on", "maze"]
    failed = [line for line in lines[2:] if line.startswith("  FAILED")]
    assert len(failed) > 5 and "".join(lines).count("no error:") == 1
    assert all(", perhaps by what shapes found: " in line or line.endswith(", by the same error") for line in failed)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("check normla", ["world_model=normla: no such name. Did you mean normal"]),
        ("check normal mixture", ["check normal mixture: name one world model", "all, categorical"]),
        ("check env=maze", ["name one world model"]),
        ("check nowhere.Model", ["world_model=nowhere.Model", "No module named 'nowhere'"]),
        ("check faulty.Logit +world_model.width=3", ["unexpected keyword argument 'width'"]),
        ("check normal world_model.hidden=3", ["world_model.hidden: no such key here"]),
        ("check normal env=maez", ["env=maez: no such name. Did you mean maze"]),
        ("check normal device=gpu", ["device=gpu: must be cpu"]),
        ("check tabular env=gym/CartPole-v1", ["world_model=tabular: needs an observation that a table can hold"]),
    ],
)
def test_wrong_words(words: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(words.split(), capsys)
    for part in parts:
        assert part in message


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: dreamspi check <world_model>" in text and "1 a check failed" in text
    assert main(["check"]) == 2 and capsys.readouterr().out == text
