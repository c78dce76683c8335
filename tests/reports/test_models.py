"""Which arms' local losses may be compared."""

from __future__ import annotations

import dataclasses

from dreamspi.reports.models import comparable, trains_model
from tests.reports.synthetic import results

ARMS = ("ppo", "deepspi", "rssm", "hybrid")


def test_only_what_is_trained_and_of_one_world_model() -> None:
    found = results(ARMS)
    assert not trains_model(found, "ppo") and trains_model(found, "rssm")
    assert comparable(found, "L_P", found.environments) == (("deepspi", "hybrid"), ("rssm",))
    assert comparable(found, "L_R", found.environments) == (("deepspi", "rssm", "hybrid"),)


def test_an_environment_that_an_arm_was_not_in_does_not_matter() -> None:
    found = results(ARMS, missing=[("maze", "hybrid", seed) for seed in (1, 2, 3)])
    assert comparable(found, "L_P", found.environments) == (("deepspi", "hybrid"), ("rssm",))
    assert comparable(found, "L_P", ["maze"]) == (("deepspi",), ("rssm",))


def test_an_arm_that_differs_from_itself_is_compared_with_none() -> None:
    found = results(ARMS, ("maze",))
    runs = [
        dataclasses.replace(run, settings=run.settings | {"world_model.hidden": 64})
        if (run.cell.arm, run.cell.seed) == ("hybrid", 2)
        else run
        for run in found.runs
    ]
    found = dataclasses.replace(found, runs=tuple(runs))
    assert comparable(found, "L_P", ["maze"]) == (("deepspi",), ("rssm",), ("hybrid",))
