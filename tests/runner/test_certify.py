"""``dreamspi certify`` as a user runs it: the table, the JSON, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tensordict import TensorDictBase

from dreamspi.certify import parse_options, progress_at
from dreamspi.cli import main
from dreamspi.errors import UserError
from planners.certificates.assumptions import ALL
from planners.planner import Planner
from tests.runner.support import rows, trained

QUICK = ["episodes=6", "num_envs=3", "horizon=5"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("certify")
    return {planner: trained(base / planner, f"planner={planner}") for planner in ("dreamspi", "deepspi", "ppo")}


def test_the_table_and_the_file(runs: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    assert main(["certify", f"run={runs['dreamspi']}", *QUICK]) == 0
    told = capsys.readouterr().out
    for word in ("D_sup", "L_R", "L_P", "K_V", "D < 1/gamma", "Theorem 2", "Theorem 3", "Theorem 4", "improvement"):
        assert word in told
    found = json.loads((runs["dreamspi"] / "certificate.json").read_text())
    assert found["planner"] == "dreamspi" and set(found["bounds"]) == set(ALL)
    assert found["evidence"]["samples"] == 6 and found["evidence"]["episodes"]["horizon"] == 5
    assert found["largest_C"] == pytest.approx(1 / 0.99)


def test_a_bound_whose_assumption_fails_is_told_as_that(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """After a step as large as this: in place of the number stands what failed."""
    run = trained(tmp_path / "run", "planner=dreamspi", "planner.dream.optimizers.heads.lr=0.1")
    assert main(["certify", f"run={run}", *QUICK, "progress=0"]) == 0
    told = capsys.readouterr().out.splitlines()
    (row,) = (number for number, line in enumerate(told) if "Theorem 4" in line)
    failing = [line.split(":")[0].split(maxsplit=1)[1] for line in told if line.strip().startswith("FAILS")]
    assert "C < 1/gamma" in failing and "asked by the paper; our forms do not need it" in told
    assert "D < 1/gamma" in failing
    assert "absent" in told[row] and "fails: D < 1/gamma" in told[row + 1]


def test_the_same_seed_gives_the_same_certificate(runs: dict[str, Path], tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        words = [f"run={runs['dreamspi']}", *QUICK, f"seed={seed}", f"json={tmp_path / name}"]
        assert main(["certify", *words]) == 0
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1] != texts[2]


def test_the_update_is_on_games_at_all_their_stages(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TensorDictBase] = []
    certify_update = Planner.certify_update

    def watched(planner: Planner, batch: TensorDictBase, *rest: Any) -> Any:
        seen.append(batch)
        return certify_update(planner, batch, *rest)

    monkeypatch.setattr(Planner, "certify_update", watched)
    assert main(["certify", f"run={runs['dreamspi']}", *QUICK]) == 0
    (batch,) = seen
    assert batch.shape == (8, 4)
    ages = batch["next", "episode_length"][:, 0, 0]
    assert len(ages.unique()) > 2 and ages.max() > 4, "as they were begun together, they stand where they began"


def test_an_online_planner_has_no_theorem_3(runs: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    assert main(["certify", f"run={runs['deepspi']}", *QUICK, "json=-"]) == 0
    found = json.loads(capsys.readouterr().out)
    bounds = found["bounds"]
    assert bounds["zeta_initial"]["value"] is bounds["promised_initial"]["value"] is None
    assert bounds["value_difference_initial"]["value"] > 0 and found["evidence"]["episodes"]["dreamt"] is not None
    assert "behavior_difference" not in bounds and bounds["dreamer_difference"]["verdict"].startswith("not measured")
    assert not next(a["holds"] for a in found["assumptions"] if "Theorem 3" in a["name"])


def test_constants_that_are_known(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = trained(tmp_path / "short", "planner=dreamspi", "gamma=0.5")
    capsys.readouterr()
    assert main(["certify", f"run={run}", *QUICK, "K_R=100", "K_P=1.9", "K_D=100", "json=-"]) == 0
    found = json.loads(capsys.readouterr().out)["evidence"]["end"]
    k = found["lipschitz"]
    assert (k["K_R"], k["K_P"], k["K_D"], k["known"]) == (100.0, 1.9, 100.0, True)
    of_value = (100 + 0.5 * 2.9 * 100 * found["V_max"]) / (1 - 0.5 * 1.9)
    assert k["K_V"] == pytest.approx(of_value + 100 * found["V_max"])


@pytest.mark.parametrize("gamma", [0, 1])
def test_certificates_at_the_ends_of_the_discount(gamma: int, tmp_path: Path) -> None:
    """The live one at the end of a training, too."""
    run = trained(tmp_path / "run", "planner=dreamspi", "env=gym/CartPole-v1", f"gamma={gamma}")
    assert any(column.startswith("certificate/") for column in rows(run)[-1])
    assert main(["certify", f"run={run}", *QUICK]) == 0


def test_an_update_without_a_dream_is_told_as_that(runs: dict[str, Path], tmp_path: Path, capsys) -> None:
    run = trained(tmp_path / "late", "planner=hybrid", "planner.dream.beta.start=0.9", iterations=4)
    assert main(["certify", f"run={run}", *QUICK]) == 0
    told = capsys.readouterr().out
    assert "progress=0.75, without a dream" in told and "there was no dream" in told and "promised" not in told


def test_progress_is_where_the_checkpoint_stands() -> None:
    cfg = OmegaConf.create({"total_steps": 1000, "num_envs": 4, "num_steps": 25})
    assert [progress_at(cfg, step) for step in (0, 300, 1000)] == [0.0, 0.3, 0.9]


def test_a_dream_that_diverges_is_told(runs: dict[str, Path], capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr("planners.certificates.gathering.paired", lambda *_: (None, None))
    assert main(["certify", f"run={runs['dreamspi']}", *QUICK]) == 0
    told = capsys.readouterr().out
    assert "dreamt      diverges" in told and "fails: the dreamt improvement is possible" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run=<run_dir> is missing"),
        (["run=x", "episode=3"], "Did you mean episodes"),
        (["run=x", "episodes=0"], "episodes=0"),
        (["run=x", "episodes=many"], "a whole number"),
        (["run=x", "p=0.7"], "p=0.7"),
        (["run=x", "p=small"], "a number"),
        (["run=x", "progress=2"], "progress=2"),
        (["run=x", "K_R=1"], "give all three"),
        (["run=x", "K_R=1", "K_P=1"], "give all three"),
        (["run=x", "p=nan"], "p=nan"),
        (["run=x", "progress=nan"], "progress=nan"),
        (["run=x", "seed=-1"], "seed=-1"),
        (["run=x", "json=/no/such/place/x.json"], "no directory"),
        (["run=x", "device=tpu"], "device=tpu"),
    ],
)
def test_wrong_input(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_options(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=/nowhere"], "no such run directory"),
        (["planner=ppo"], "learns no world model"),
        (["planner=dreamspi", "K_R=1", "K_P=1.2", "K_D=0"], "K_P=1.2"),
        (["planner=dreamspi", "K_R=-1", "K_P=0.2", "K_D=0"], "at least 0"),
        (["planner=dreamspi", "K_R=nan", "K_P=0.2", "K_D=0"], "K_R=nan"),
        (["planner=dreamspi", "K_R=inf", "K_P=0.2", "K_D=0"], "K_R=inf"),
        (["planner=dreamspi", "K_R=9", "K_P=0", "K_D=9"], "K_P=0.0: two states of the data show"),
    ],
)
def test_what_cannot_be_certified(
    runs: dict[str, Path], words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    given = [f"run={runs[word[8:]]}" if word.startswith("planner=") else word for word in words]
    assert main(["certify", *given, *QUICK]) == 2
    assert message in capsys.readouterr().err
