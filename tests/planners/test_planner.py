"""The whole iteration: what each planner may change, over every world model and every choice of target."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dreamspi.catalogue import options
from dreamspi.training import Training
from planners.certificates.gathering import gather
from tests.planners.training import started, states
from world_models.precision import Mixed

TARGETS = ("Gradient", "StopGradient", "Slow")


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def watch(phase: Any, training: Training, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the entries of the agent's state, buffers included, that one run of a phase changes."""
    names: set[str] = set()
    run = phase.run

    def watched(*args: Any) -> dict[str, float]:
        before = states(training)
        metrics = run(*args)
        names.update(changed(before, states(training)))
        return metrics

    monkeypatch.setattr(phase, "run", watched)
    return names


@pytest.mark.parametrize("planner", ["dreamspi", "hybrid"])
@pytest.mark.parametrize("model", options("world_model"))
def test_a_dream_moves_the_heads_alone(planner: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = started(f"planner={planner}", f"world_model={model}")
    ground = watch(training.planner.ground, training, monkeypatch)
    dream = watch(training.planner.dream, training, monkeypatch)
    training.iterate()
    training.close()
    assert dream and all(name.startswith("heads.") for name in dream)
    assert any(name.startswith("world_model.encoder.") for name in ground)
    assert any(name.startswith("heads.") for name in ground) == (planner == "hybrid")


@pytest.mark.parametrize("target", TARGETS)
def test_a_dream_leaves_the_target_alone(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = started(
        "planner=dreamspi", "world_model=deterministic", f"world_model.target._target_=world_models.targets.{target}"
    )
    ground = watch(training.planner.ground, training, monkeypatch)
    dream = watch(training.planner.dream, training, monkeypatch)
    training.iterate()
    training.close()
    assert all(name.startswith("heads.") for name in dream)
    assert any("target_choice" in name for name in ground) == (target == "Slow")


def test_beta_weighs_the_dream() -> None:
    """How far the heads go in one dream is in proportion to beta, which a weight on Adam's loss would not do."""
    moved = []
    for beta in (1.0, 0.1, 0.0):
        one = ["planner.dream.minibatches=1", "planner.dream.epochs=1"]
        training = started("planner=dreamspi", f"planner.dream.beta.final={beta}", *one)
        before = states(training)
        training.iterate()
        after = states(training)
        training.close()
        moved.append(sum(float((after[n] - before[n]).square().sum()) for n in before if n.startswith("heads.")) ** 0.5)
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=0.02)
    assert moved[2] == 0.0 < moved[0]


def test_kappa_one_is_the_clip_and_another_is_not() -> None:
    ends = []
    for words in (
        ["planner.neighborhood=clip"],
        ["planner.neighborhood=drift"],
        ["planner.neighborhood=drift", "planner.kappa=0.0"],
    ):
        # The rate is large enough for ratios to leave the neighborhood.
        training = started("planner=ppo", "planner.ground.epochs=4", "planner.ground.optimizers.policy.lr=0.05", *words)
        training.iterate()
        ends.append(training.planner.agent.heads.actor.weight.detach().clone())
        training.close()
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-4)
    assert (ends[0] - ends[2]).abs().max() > 1e-3


def test_heads_of_ones_choice_learn_in_both_phases() -> None:
    training = started("planner=hybrid", "planner.heads._target_=planners.heads.SeparateHeads")
    before = states(training)
    training.iterate()
    training.close()
    moved = {name for name in changed(before, states(training)) if name.startswith("heads")}
    assert moved == {name for name in before if name.startswith("heads")} and "heads.critic_trunk.weight" in moved


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["planner.heads._target_=planners.heads.SharedHeads"], "SharedHeads"),
        (["planner.ground.epochs=0"], "planner.ground.epochs=0"),
        (["planner.ground.minibatches=-4"], "planner.ground.minibatches=-4"),
        (["planner.hidden=0"], "planner.hidden=0"),
        (["planner.dream.optimizers.heads=null"], "none of them trains a role"),
        (["planner.dream=null"], "planner.ground.optimizers: none of them trains the role heads"),
        (["planner.neighborhood=clip", "planner.kappa=-1.0"], "planner.kappa=-1.0"),
        (["planner.neighborhood=drift", "planner.kappa=-1.0"], "planner.kappa=-1.0"),
        (["world_model=mixture_paper", "world_model.reward.hidden=255"], "world_model.reward.hidden=255"),
    ],
)
def test_settings_that_cannot_work_are_refused(words: list[str], message: str) -> None:
    from dreamspi.errors import UserError

    with pytest.raises(UserError, match=message):
        started("planner=dreamspi", *words)


def test_large_layers_may_round_in_every_part_but_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    training = started("env=minatar/breakout", "planner=dreamspi", "precision=bf16", "certify_every=4")
    planner = training.planner
    parts = [
        part
        for module in (planner.agent, planner.start_heads, planner.behavior_heads)
        for part in module.modules()
        if isinstance(part, Mixed)
    ]
    assert len(parts) >= 6 and all(part.bf16 for part in parts)
    certified: list[set[bool]] = []

    def watched(*args: Any) -> Any:
        certified.append(
            {part.bf16 for part in parts[:-1]}
        )  # the last are the behavior's heads, which it has no use for
        return gather(*args)

    monkeypatch.setattr("planners.planner.gather", watched)
    batch = training.collection.next()
    planner.improve(batch, 0.0, diagnose=True, certify=True)
    training.close()
    assert certified == [{False}] and all(part.bf16 for part in parts)
    assert batch["logits"].dtype == torch.float32
    assert not torch.equal(batch["logits"], batch["logits"].bfloat16().float()), (
        "what a ratio is made of is not rounded"
    )


@pytest.mark.parametrize("name", ["deterministic", "ensemble"])
def test_what_holds_states_apart_moves_the_encoder(name: str) -> None:
    key = "world_model.member.spread" if name == "ensemble" else "world_model.spread"
    after = []
    for weight in (0.0, 1.0):
        training = started(f"world_model={name}", f"{key}.weight={weight}", f"{key}.target=1.0", "planner=deepspi")
        metrics = training.iterate()
        after.append(torch.cat([p.flatten() for p in training.planner.agent.world_model.encoder_parameters()]))
        assert (metrics["ground/loss_auxiliary"] > 0.0) == (weight > 0.0)
        training.close()
    assert not torch.equal(*after)
