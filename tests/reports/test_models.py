"""Which arms' local losses may be compared."""

from __future__ import annotations

from dreamspi.reports.models import comparable, trains_model
from tests.reports.synthetic import results, with_settings

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
    found = with_settings(results(ARMS, ("maze",)), {("maze", "hybrid", 2): {"world_model.hidden": 64}})
    assert comparable(found, "L_P", ["maze"]) == (("deepspi",), ("rssm",), ("hybrid",))
