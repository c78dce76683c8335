"""Words and presets become a design: which environments, arms and seeds there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dreamspi.catalogue import options
from dreamspi.errors import UserError
from dreamspi.overrides import parse, quoted
from dreamspi.studies import request
from dreamspi.studies.design import Arm, Design, cells
from dreamspi.studies.request import read
from dreamspi.studies.store import Study


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
    assert arms["ppo"] == ("planner=ppo",) and arms["deepspi latent 3"][0] == "planner=deepspi"
    assert "deepspi alphas 1" in arms and not any(name.startswith("ppo alphas") for name in arms)


def test_other_keys_go_to_every_training() -> None:
    found = design("total_steps=20000", "gamma=0.9", "threads=2")
    assert found.typed == ("total_steps=20000", "gamma=0.9", "threads=2") and found.fixed == ("threads=1",)


def stored() -> Study:
    asked = read(["name=x", "env=[maze]", "planner=[ppo]", "seeds=2", "total_steps=4096"]).design
    assert asked is not None
    study = Study.extend(Path("studies/x"), asked, cells(asked))
    study.save()
    return study


def test_a_study_without_a_question_goes_on() -> None:
    stored()
    request = read(["name=x", "retry=true", "launcher=local", "launcher.n_jobs=3"])
    assert request.design is None and request.retry and not request.dry
    assert request.launcher == ("launcher=local", "launcher.n_jobs=3")
    assert request.path == Path("studies/x")
    with pytest.raises(UserError, match="there/x: no such study yet; say what to compare"):
        read(["name=x", "root=there"])


@pytest.mark.parametrize(
    ("word", "changed"),
    [
        ("seeds=5", {"seeds": (1, 2, 3, 4, 5)}),
        ("planner=[deepspi]", {"arms": (Arm("deepspi", ("planner=deepspi",)),)}),
        ("env=[minatar/breakout]", {"environments": {"minatar/breakout": ()}}),
        ("threads=2", {"typed": ("total_steps=4096", "threads=2")}),
    ],
)
def test_what_is_left_open_is_as_the_study_had_it(word: str, changed: dict[str, Any]) -> None:
    before = stored().design
    assert design(word) == before._replace(**changed)


def added(*words: str) -> Study:
    asked = design(*words)
    study = Study.extend(Path("studies/x"), asked, cells(asked))
    study.save()
    return study


def test_a_further_arm_gets_in_each_environment_what_the_others_got() -> None:
    added("env=[maze]", "planner=[ppo]", "seeds=1", "gamma=0.9", "total_steps=50000")
    added("env=[minatar/breakout]", "total_steps=400000", "log_every=8")
    added("planner=[dreamspi]")
    study = added("seeds=2")
    assert {(cell.env, cell.arm, cell.steps) for cell in study.cells.values()} == {
        *(("maze", arm, 50_000) for arm in ("ppo", "dreamspi")),
        *(("minatar/breakout", arm, 400_000) for arm in ("ppo", "dreamspi")),
    }
    assert len(study.cells) == 8 and all("gamma=0.9" in cell.overrides for cell in study.cells.values())
    assert {cell.env for cell in study.cells.values() if "log_every=8" in cell.overrides} == {"minatar/breakout"}
    assert design("env=[minatar/asterix]").typed == ("gamma=0.9",)


def test_what_was_typed_before_is_no_arms_own() -> None:
    added("env=[maze]", "planner=[ppo]", "seeds=1", "gamma=0.9")
    with pytest.raises(UserError, match="gamma=0.9: arm ppo gamma=0.8 has its own, gamma=0.8"):
        design("planner=[ppo]", "gamma=0.8,0.99")


def test_values_meet_the_arms_of_a_preset_that_has_no_planner() -> None:
    asked = read(["study=maze_alphas", "gamma=0.9,0.99"]).design
    assert asked is not None and [arm.name for arm in asked.arms] == [
        *("ppo gamma=0.9", "ppo gamma=0.99"),
        *("deepmdp alphas 1 gamma=0.9", "deepmdp alphas 1 gamma=0.99"),
        *("deepspi alphas 1 gamma=0.9", "deepspi alphas 1 gamma=0.99"),
    ]
    assert asked.arms[1].overrides == ("experiment=paper_ppo", "world_model.encoder=small_cnn", "gamma=0.99")
    beside = read(["study=maze_alphas", "planner=[hybrid]"]).design
    assert beside is not None and len(beside.arms) == 4 and beside.arms[0].name == "hybrid"


def test_an_experiment_keeps_its_planner_and_model() -> None:
    arms = design("experiment=paper_ppo,paper_deepspi").arms
    assert arms == (
        Arm("paper_ppo", ("experiment=paper_ppo",)),
        Arm("paper_deepspi", ("experiment=paper_deepspi",)),
    )


def test_a_preset_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, message in (
        ("arms: [a]", "arms: must be names"),
        ("variants: [a]", "variants: must be names"),
        ("fixed: {a: b}", "fixed=.*must be a list"),
        ("seed: 3", "seed.*no such name. Did you mean seeds"),
        ("arms: {a: [b}", r"^\S+odd\.yaml: not YAML: .* line 1, column 13.*$"),
        ("- env: [maze]", r"odd\.yaml: must be keys with their values, of these: env, planner"),
    ):
        (tmp_path / "odd.yaml").write_text(text)
        monkeypatch.setattr(request, "options", lambda group: ["odd"])
        monkeypatch.setattr(request, "path_of", lambda group, name: tmp_path / "odd.yaml")
        with pytest.raises(UserError, match=message):
            read(["study=odd"])
    (tmp_path / "odd.yaml").write_text("fixed: log_every=16")
    found = read(["study=odd"]).design
    assert found is not None and found.fixed == ("threads=1", "log_every=16")


@pytest.mark.parametrize("preset", options("study"))
def test_every_preset_is_a_study_of_its_own_name(preset: str) -> None:
    request = read([f"study={preset}"])
    assert request.path == Path("studies") / preset
    assert request.design is not None and len(request.design.seeds) >= 3 and len(request.design.arms) >= 3


@pytest.mark.parametrize(
    "preset",
    [
        # 55 arms, half a second each.
        pytest.param(name, marks=[pytest.mark.slow] * (name == "maze_collapse"))
        for name in options("study")
    ],
)
def test_every_arm_of_a_preset_can_be_composed(preset: str) -> None:
    design = read([f"study={preset}"]).design
    assert design is not None
    first = dict([next(iter(design.environments.items()))])  # the arms are the same in all of them
    assert len(cells(design._replace(environments=first, seeds=(1,)))) == len(design.arms)


def test_a_preset_can_be_changed() -> None:
    request = read(["study=quick", "name=mine", "seeds=[9]", "env=[maze]", "total_steps=4096"])
    assert request.path.name == "mine" and request.design is not None
    assert request.design.seeds == (9,) and dict(request.design.environments) == {"maze": ("total_steps=200_000",)}
    assert request.design.typed == ("total_steps=4096",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["env=[maze]"], "name=<study> is missing"),
        (["name=a/b"], "only letters, digits"),
        (["name=x", "study=quik"], "study=quik: no such name. Did you mean quick"),
        (["name=x", "seed=3"], "seed=3: .*write seeds=3"),
        (["name=x", "run_dir=there"], "run_dir=there: .*write name="),
        (["name=x", "planner=[ppo,ppo]"], "planner: ppo is named twice"),
        (["name=x", "env=[]"], r"env=\[\]: name one"),
        (["name=x", "retry=yes"], "retry=yes: must be true or false"),
        (["name=.."], "name=..: must begin with"),
        (["name=x", "gamma=0.9,0.9"], "two arms are named dreamspi gamma=0.9"),
        (["study=ablation", "planner.C=1.3"], "planner.C=1.3: arm hybrid C=1.05 has its own"),
        (["study=ablation", "planner.C=1.3,1.4"], "planner.C=1.3: arm hybrid C=1.05 C=1.3 has its own, planner.C=1.05"),
        (["study=maze_alphas", "experiment=paper_ppo,paper_deepmdp"], "arm ppo paper_ppo has its own, experiment="),
        (["name=x", "not a word"], "not understood"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(words)


@pytest.mark.parametrize("text", ["a b", "it's", "C:\\x\\y", "end\\", "q\\'x", "\\\\'", "a=b,c[1]{}", ""])
def test_a_quoted_text_is_itself_again(text: str) -> None:
    (override,) = parse([f"run_dir={quoted(text)}"])
    assert override.value() == text
