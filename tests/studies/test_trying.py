"""What a study builds before it trains anything, and what it is told where that can't be done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dreamspi.errors import UserError
from dreamspi.studies.design import Arm, Design, cells
from dreamspi.studies.trying import build, check, representatives
from tests.support import tiny

ARMS = (Arm("ppo", ("planner=ppo",)), Arm("deepspi", ("planner=deepspi",)))


def designed(environments: dict[str, tuple[str, ...]], *fixed: str, arms: tuple[Arm, ...] = ARMS) -> Design:
    return Design(environments, arms, seeds=(1, 2), fixed=(*tiny("planner=ppo", without={"seed"}), *fixed))


def test_one_environment_of_a_family_with_each_arm() -> None:
    names = ("maze", "minatar/asterix", "minatar/freeway", "gym/CartPole-v1", "gym/Acrobot-v1")
    found = representatives(cells(designed(dict.fromkeys(names, ()))))
    expected = ("gym/Acrobot-v1", "gym/CartPole-v1", "maze", "minatar/freeway")
    assert sorted((cell.env, cell.arm) for cell in found) == [(e, a) for e in expected for a in ("deepspi", "ppo")]


def test_an_environment_with_words_of_its_own_is_a_kind_of_its_own() -> None:
    own = {"minatar/asterix": ("num_steps=6",), "minatar/freeway": (), "minatar/breakout": ()}
    found = representatives(cells(designed(own, arms=ARMS[:1])))
    assert [cell.env for cell in found] == ["minatar/asterix", "minatar/breakout"]
    with pytest.raises(UserError, match=r"^env=minatar/asterix, arm ppo: planner.ground.segment=4 does not divide"):
        check(found)


@pytest.mark.parametrize("words", [("device=cuda",), ("collector.backend=ray", "collector.address=nowhere:1")])
def test_what_only_the_machine_that_trains_must_have(words: tuple[str, ...]) -> None:
    build(cells(designed({"maze": ()}, *words, arms=ARMS[:1]))[0].overrides)


def test_a_process_that_dies_is_told_with_what_it_was_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deadly.py").write_text("import os\nprint('loud')\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    words = ("planner._target_=deadly.Planner",)
    with pytest.raises(UserError, match=r"^env=maze, arm ppo: the process that builds it ended with 9$"):
        check(cells(designed({"maze": ()}, *words, arms=ARMS[:1])))
    assert "loud" in capfd.readouterr().err
