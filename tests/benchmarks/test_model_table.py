"""The table of world models: whose numbers a cell has, what it cost, and wrong input in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import model_table
from benchmarks.model_table import Cell, Refused, dreamspi, main, parse
from dreamspi.errors import UserError
from tests.support import refused

CELL = Cell("minatar/breakout", "rssm", 1)


def test_another_length_or_override_is_another_run() -> None:
    words = ([], ["steps=200000"], ["planner.C=1.2"], ["planner.C=1.3"], ["planner.C=1.2", "steps=200000"])
    names = [model_table._name(parse(each), CELL) for each in words]
    assert len(set(names)) == len(names)
    assert names[0] == "minatar-breakout-rssm-50000-1"
    assert model_table._name(parse(["planner.C=1.2"]), CELL) == names[2]


def test_what_an_interrupted_training_has_cost_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stretches count, though the first one failed."""
    account = tmp_path / "seconds.json"
    burn = "import sys, time\nwhile time.process_time() < 0.5: pass\nsys.exit(3)"
    real = model_table.subprocess.Popen

    def burning(command: list[str], **keys: Any) -> Any:
        return real([sys.executable, "-c", burn], **keys)

    monkeypatch.setattr("benchmarks.model_table.subprocess.Popen", burning)
    for stretch in (1, 2):
        with pytest.raises(UserError, match="dreamspi train: failed"):
            dreamspi("train", account=account)
        assert 0.5 * stretch <= json.loads(account.read_text()) < 1.5 * stretch


def trained(command: str, *words: str, account: Path | None = None) -> None:
    """In the place of the commands: tables refuse, no game of the mixture's ends in training, and all errors are the
    seeds."""
    (run,) = (Path(word.partition("=")[2]) for word in words if word.startswith(("run=", "run_dir=")))
    if "tabular" in run.name:
        raise Refused("too many.")
    run.mkdir(parents=True, exist_ok=True)
    if command == "evaluate":
        (run / "evaluation.json").write_text('{"mean": -20.5}')
        return
    seed = float(run.name[-1])
    error = {"latent_error_relative": [seed], "reward_error": [seed], "reward_error_on_largest": [seed]}
    (run / "dream.json").write_text(json.dumps({"sampled": error | {"termination": {"error": seed}}}))
    (run / "summary.json").write_text(f'{{"return_last": {"null" if "mixture" in run.name else 3.5}}}')
    (run / "seconds.json").write_text("20.0" if "rssm" in run.name else "10.0")


def test_a_model_that_refuses_is_told_beneath_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_table, "dreamspi", trained)
    assert main(["envs=maze", "models=rssm,tabular,deterministic", "seeds=2"]) == 0
    *_, first, second, empty, last = capsys.readouterr().out.splitlines()
    assert first == "| `rssm` | " + "0.5 (0–1) | " * 5 + "2 | 3.5 |"
    assert second == "| `deterministic` | " + "0.5 (0–1) | " * 5 + "1 | 3.5 |"
    assert (empty, last) == ("", "`tabular`: too many.")


def test_where_no_game_ended_in_training_some_are_played_after_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_table, "dreamspi", trained)
    assert main(["envs=maze", "models=mixture", "seeds=1", "num_envs=16"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("| 1 | -20.5 |")


def test_where_all_refuse_there_is_no_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_table, "dreamspi", trained)
    assert main(["envs=maze", "models=tabular"]) == 2
    assert capsys.readouterr() == ("", "dreamspi: too many.\n")


def test_a_refusal_is_told_from_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = model_table.subprocess.Popen
    for code, kind, told in ((2, Refused, "^no table.$"), (3, UserError, "^dreamspi train: dreamspi: no table.$")):
        end = f"import sys; sys.stderr.write('a warning\\ndreamspi: no table.\\n'); sys.exit({code})"
        monkeypatch.setattr(
            model_table.subprocess, "Popen", lambda command, end=end, **keys: real([sys.executable, "-c", end], **keys)
        )
        with pytest.raises(UserError, match=told) as raised:
            dreamspi("train")
        assert raised.type is kind


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steps=abc"], "steps=abc: must be a whole number"),
        (["steps=0"], "steps=0: must be a whole number"),
        (["envs=maez/x"], "env=maez/x: no such name. Did you mean maze"),
        (["envs=atari_stochastic/Pong"], "envs=atari_stochastic/Pong: say how long a training is to be"),
        (["models=rsm"], "models=rsm: no such name. Did you mean rssm"),
        (["jobs=0"], "jobs=0: must be a whole number"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(words, capsys, main)
