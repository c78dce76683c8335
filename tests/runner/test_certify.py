"""``dreamspi certify`` as a user runs it: the table, the JSON, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamspi.certify import parse_options
from dreamspi.cli import main
from dreamspi.errors import UserError
from planners.certificates import BOUNDS
from tests.runner.support import trained

QUICK = ["episodes=6", "num_envs=3", "horizon=5"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("certify")
    return {planner: trained(base / planner, f"planner={planner}") for planner in ("dreamspi", "deepspi", "ppo")}


def test_the_table_and_the_file(runs: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    assert main(["certify", f"run={runs['dreamspi']}", *QUICK]) == 0
    told = capsys.readouterr().out
    for word in ("D_sup", "L_R", "L_P", "K_V", "D < 1/gamma", "Theorem 2", "Theorem 3", "Theorem 4", "promised"):
        assert word in told
    found = json.loads((runs["dreamspi"] / "certificate.json").read_text())
    assert found["planner"] == "dreamspi" and set(found["vacuous"]) == set(BOUNDS)
    assert found["evidence"]["samples"] == 6 and found["evidence"]["from_start"]["episodes"] == 6
    assert found["largest_C"] == pytest.approx(1 / 0.99)


def test_the_same_seed_gives_the_same_certificate(runs: dict[str, Path], tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        words = [f"run={runs['dreamspi']}", *QUICK, f"seed={seed}", f"json={tmp_path / name}"]
        assert main(["certify", *words]) == 0
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1] != texts[2]


def test_an_online_planner_has_no_theorem_3(runs: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    assert main(["certify", f"run={runs['deepspi']}", *QUICK, "json=-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["zeta"] is found["promised"] is None and found["behavior_difference"] > 0
    assert not next(a["holds"] for a in found["assumptions"] if "Theorem 3" in a["name"])


def test_constants_that_are_known(runs: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    assert main(["certify", f"run={runs['dreamspi']}", *QUICK, "K_R=1", "K_P=0.5", "json=-"]) == 0
    found = json.loads(capsys.readouterr().out)["evidence"]["lipschitz"]
    assert found == {"K_R": 1.0, "K_P": 0.5, "K_V": pytest.approx(1 / (1 - 0.99 * 0.5)), "known": True}


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
        (["run=x", "K_R=1"], "give both"),
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
        (["planner=dreamspi", "K_R=1", "K_P=1.2"], "K_P=1.2"),
        (["planner=dreamspi", "K_R=-1", "K_P=0.2"], "at least 0"),
    ],
)
def test_what_cannot_be_certified(
    runs: dict[str, Path], words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    given = [f"run={runs[word[8:]]}" if word.startswith("planner=") else word for word in words]
    assert main(["certify", *given, *QUICK]) == 2
    assert message in capsys.readouterr().err
