"""What a training is judged by, and what a study's results say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dreamspi.config import compose
from dreamspi.reports.results import MACHINE, judged, read_results
from dreamspi.studies.design import Arm, Design, cells
from dreamspi.studies.store import Study
from tests.reports.synthetic import OPTIMUM, UNDISCOUNTED, results, with_settings

PAIR = ("ppo", "recurrent")


def test_the_maze_is_judged_by_exact_values() -> None:
    found = results(PAIR, ("maze", "minatar/breakout"))
    assert found.exact == ("maze",)
    for run in found.of("maze"):
        assert run.score == run.summary["maze_value"] and run.score_curve.name == "maze_value"
    assert {run.score_curve.name for run in found.of("minatar/breakout")} == {"train/return"}


def test_no_return_is_compared_with_an_exact_value() -> None:
    values = {("maze", arm, seed): OPTIMUM for arm in PAIR for seed in (1, 2, 3)}
    found = results(PAIR, ("maze", "minatar/breakout"), scores=values, memory=["recurrent"])
    assert found.exact == ()
    for run in found.of("maze"):
        assert run.score == pytest.approx(UNDISCOUNTED * OPTIMUM)
        assert run.score_curve.name == "train/return"


def test_one_training_without_an_exact_value_is_enough() -> None:
    known, unknown = results(PAIR, ("maze",)).runs, results(PAIR, ("maze",), memory=PAIR).runs
    assert not any(run.exact for run in judged([*known[1:], unknown[0]]))
    assert all(run.exact for run in judged(known))


def test_settings_in_which_arms_differ() -> None:
    found = results(("ppo", "deepspi"), ("maze",), (1, 2))
    found = with_settings(found, {("maze", "ppo", seed): {"gamma": None} for seed in (1, 2)})
    differences = found.differences()
    assert set(differences) == {"choices.planner", "gamma", "planner.ground.utility"}
    assert differences["gamma"] == {"ppo": ("null",), "deepspi": ("–",)}
    assert found.unlike() == {}


def test_trainings_of_one_arm_that_differ_are_told_with_every_value() -> None:
    found = results(("ppo", "deepspi"), ("maze", "minatar/breakout"), (1, 2, 3))
    found = with_settings(found, {("minatar/breakout", "ppo", 2): {"total_steps": 1}})
    assert found.differences()["total_steps"] == {"ppo": ("61440", "1"), "deepspi": ("61440",)}
    assert found.unlike() == {"ppo": ["total_steps"]}


def test_what_differs_between_environments_is_no_difference() -> None:
    found = results(("ppo",), ("maze", "minatar/breakout"))
    assert found.differences() == {} and found.unlike() == {}


def test_what_the_clock_depends_on_differs_and_makes_no_other_configuration() -> None:
    found = with_settings(results(("ppo", "deepspi"), ("maze",)), {("maze", "ppo", 2): {"threads": 2}})
    assert found.differences()["threads"] == {"ppo": ("–", "2"), "deepspi": ("–",)} and found.unlike() == {}


def test_a_training_is_read_with_what_it_had_of_the_machine(tmp_path: Path) -> None:
    design = Design({"maze": ()}, (Arm("ppo", ("planner=ppo",)),), (1,), ("threads=2",))
    study = Study(tmp_path / "x", design, cells(design))
    study.save()
    (cell,) = study.cells.values()
    run = study.run_directory(cell)
    run.mkdir()
    OmegaConf.save(compose(cell.overrides), run / "config.yaml")
    (run / "metrics.csv").write_text("env_steps,train/return\n4096,1.0\n")
    (run / "summary.json").write_text("{}")
    (found,) = read_results(study.path).runs
    assert {key: found.settings[key] for key in MACHINE} == {"device": "cpu", "threads": 2}
    assert found.settings["gamma"] == 0.99 and "logger" not in found.settings
