"""Another ``_target_`` for a part: what only the class before it took is left behind, what was typed is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamspi.building import build_world_model, make_env, observed
from dreamspi.cli import main
from dreamspi.errors import UserError
from dreamspi.training import Training
from tests.runner.support import configured
from world_models.checks import Subject, run
from world_models.checks.shapes import shapes


@pytest.mark.parametrize(
    "words",
    [
        "categorical target=targets.StopGradient network=token_networks.SoftMoENetwork reward=heads.ScalarReward",
        "transformer network=transition.PlainNetwork cost=costs.Coupling sampling=one_hots.Gumbel",
        "mixture_paper cost=costs.EnergyScore network=transition.PlainNetwork termination=heads.BernoulliTermination",
        "mixture reward=heads.LipschitzReward penalty=penalties.UnitGradientPenalty target=targets.Slow",
        "rssm cost=costs.Squared reward=heads.ScalarReward target=targets.StopGradient",
        "true_mixture weights=true_mixture.ActionWeights network=transition.LipschitzNetwork cost=costs.Likelihood",
        "deterministic cost=discrepancy.Wasserstein network=transition.PaperLipschitzNetwork",
    ],
)
def test_every_part_can_be_another(words: str, tmp_path: Path) -> None:
    name, *parts = words.split()
    typed = ["world_model.{}._target_=world_models.{}".format(*part.split("=")) for part in parts]
    config = configured(tmp_path, "planner=dreamspi", f"world_model={name}", *typed)
    env = make_env(config, num_envs=1, training=True)
    run(shapes, Subject(lambda spec, actions: build_world_model(config, spec, actions), *observed(env)))


def test_what_the_new_class_takes_is_kept(tmp_path: Path) -> None:
    cost = "world_model.cost._target_=world_models.costs.Squared"
    before = configured(tmp_path, "world_model=mixture_paper").world_model.cost
    after = configured(tmp_path, "world_model=mixture_paper", cost).world_model.cost
    assert after.reduction == before.reduction == "sum"
    energy = "world_model.cost._target_=world_models.costs.EnergyScore"
    found = configured(tmp_path, "world_model=mixture_paper", energy, "+world_model.cost.samples=3")
    assert dict(found.world_model.cost) == {"_target_": "world_models.costs.EnergyScore", "samples": 3}
    section = "world_model.cost={_target_: world_models.costs.EnergyScore}"
    found = configured(tmp_path, "world_model=mixture_paper", section)
    assert dict(found.world_model.cost) == {"_target_": "world_models.costs.EnergyScore"}


@pytest.mark.parametrize(
    "typed", ["world_model.cost.reduction=sum", "+world_model.cost.beta=2.0", "world_model.cost={reduction: sum}"]
)
def test_what_was_typed_stays_and_is_refused(typed: str, tmp_path: Path) -> None:
    energy = "world_model.cost._target_=world_models.costs.EnergyScore"
    with pytest.raises(UserError, match="unexpected keyword argument"):
        Training(configured(tmp_path, "world_model=mixture_paper", "planner=deepspi", energy, typed))


def test_the_same_class_typed_again_changes_nothing(tmp_path: Path) -> None:
    again = "world_model.cost._target_=world_models.costs.SmoothL1"
    plain, typed = (configured(tmp_path, "world_model=mixture_paper", *words).world_model for words in ((), (again,)))
    assert plain == typed


def test_a_class_that_is_not_there_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["train", f"run_dir={tmp_path / 'run'}", "world_model.cost._target_=world_models.costs.Nope"]
    assert main(words) == 2
    assert capfd.readouterr().err.count("\n") == 1
