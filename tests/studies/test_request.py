"""Words and presets become a design: which environments, arms and seeds there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamspi.catalogue import options
from dreamspi.errors import UserError
from dreamspi.studies.design import Design
from dreamspi.studies.request import read


def design(*words: str) -> Design:
    found = read(["name=x", *words]).design
    assert found is not None
    return found


def test_listed_and_swept_values_are_the_same() -> None:
    assert design("env=[maze,minatar/breakout]", "planner=[ppo,deepspi]") == design(
        "env=maze,minatar/breakout", "planner=ppo,deepspi"
    )


def test_every_planner_meets_every_model_and_every_swept_value() -> None:
    arms = design("planner=[deepspi,hybrid]", "world_model=[normal,rssm]", "planner.C=1.05,1.2").arms
    assert len(arms) == 8 and len({arm.name for arm in arms}) == 8
    assert arms[0].name == "deepspi normal C=1.05"
    assert arms[-1].overrides == ("planner=hybrid", "world_model=rssm", "planner.C=1.2")


def test_a_model_that_is_not_named_is_not_in_the_arms_name() -> None:
    (arm,) = design("planner=ppo").arms
    assert arm.name == "ppo" and arm.overrides == ("planner=ppo",)


@pytest.mark.parametrize(
    ("typed", "seeds"),
    [("seeds=3", (1, 2, 3)), ("seeds=[7,9]", (7, 9)), ("seeds=7,9", (7, 9)), ("planner=ppo", (1, 2, 3))],
)
def test_seeds(typed: str, seeds: tuple[int, ...]) -> None:
    assert design(typed).seeds == seeds


@pytest.mark.parametrize(
    "typed", ["seeds=0", "seeds=-1", "seeds=[1,1]", "seeds=[]", "seeds=many", "seeds=[1.5]", "seeds=true"]
)
def test_seeds_that_are_none(typed: str) -> None:
    with pytest.raises(UserError, match="seeds=.*how many"):
        design(typed)


def test_a_presets_variants_are_crossed_and_its_arms_are_not() -> None:
    request = read(["study=maze_collapse"])
    assert request.design is not None
    arms = {arm.name: arm.overrides for arm in request.design.arms}
    assert arms["ppo"] == ("planner=ppo",) and arms["deepspi lr x10"][0] == "planner=deepspi"
    assert "deepspi alphas 1" in arms and not any(name.startswith("ppo alphas") for name in arms)


def test_other_keys_go_to_every_training() -> None:
    assert design("total_steps=20000", "gamma=0.9", "threads=2").fixed == (
        "total_steps=20000",
        "gamma=0.9",
        "threads=2",
    )


def test_a_study_without_a_question_goes_on() -> None:
    request = read(["name=x", "retry=true", "launcher=local", "launcher.n_jobs=3"])
    assert request.design is None and request.retry and not request.dry
    assert request.launcher == ("launcher=local", "launcher.n_jobs=3")
    assert request.path == Path("studies/x") and read(["name=x", "root=there"]).path == Path("there/x")


@pytest.mark.parametrize("preset", options("study"))
def test_every_preset_is_a_study_of_its_own_name(preset: str) -> None:
    request = read([f"study={preset}"])
    assert request.path == Path("studies") / preset
    assert request.design is not None and len(request.design.seeds) >= 3 and len(request.design.arms) >= 4


def test_a_preset_can_be_changed() -> None:
    request = read(["study=quick", "name=mine", "seeds=[9]", "env=[maze]", "total_steps=4096"])
    assert request.path.name == "mine" and request.design is not None
    assert request.design.seeds == (9,) and dict(request.design.environments) == {"maze": ()}
    assert "total_steps=4096" in request.design.fixed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["env=[maze]"], "name=<study> is missing"),
        (["name=a/b"], "letters, digits"),
        (["name=x", "study=quik"], "study=quik: no such name. Did you mean quick"),
        (["name=x", "seed=3"], "seed=3: .*write seeds=3"),
        (["name=x", "run_dir=there"], "run_dir=there: .*write name="),
        (["name=x", "planner=[ppo,ppo]"], "planner: ppo is named twice"),
        (["name=x", "env=[]"], r"env=\[\]: name one"),
        (["name=x", "retry=yes"], "retry=yes: must be true or false"),
        (["name=x", "threads=0"], "threads=0: must be a whole number of at least 1"),
        (["name=x", "threads=[1,2]"], "threads=.*must be a whole number"),
        (["name=x", "not a word"], "not understood"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(words)
