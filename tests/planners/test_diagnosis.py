"""A look at the model before it learns: it changes nothing, and says only what the batch can tell."""

from __future__ import annotations

import pytest
import torch

from planners.agent import Agent
from planners.diagnosis import diagnosis, model_health
from tests.planners import drift
from tests.planners.linear_model import experience
from tests.planners.training import started, states

QUALITY = {
    "dream_quality/latent_error_first",
    "dream_quality/latent_error_half",
    "dream_quality/latent_error_last",
    "dream_quality/still_error_last",
    "dream_quality/reward_error_last",
    "dream_quality/value_error_last",
    "dream_quality/return_correlation",
    "dream_quality/return_error",
    "dream_quality/return_bias",
    "dream_quality/calibration_error",
    "dream_quality/brier_score",
}


@pytest.mark.parametrize("model", ["deterministic", "normal", "categorical"])
def test_looking_changes_nothing(model: str) -> None:
    """Runs that look at every batch, and at none, learn the same."""
    ends = []
    for log_every in (1, 1000):
        training = started("planner=dreamspi", f"world_model={model}", f"log_every={log_every}", "certify_every=1000")
        metrics = [training.iterate() for _ in range(3)]
        training.close()
        ends.append((states(training), torch.get_rng_state()))
        assert all((set(row) >= QUALITY - {"dream_quality/return_correlation"}) == (log_every == 1) for row in metrics)
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    assert torch.equal(ends[0][1], ends[1][1])


def test_a_model_that_is_never_trained_has_no_dreams_to_judge() -> None:
    training = started("planner=ppo", "log_every=1")
    found = training.iterate()
    training.close()
    assert "model/effective_rank" in found and not any(name.startswith("dream_quality/") for name in found)


def test_one_step_is_a_horizon_too() -> None:
    training = started(
        "env=gym/CartPole-v1", "planner=deepspi", "log_every=1", "num_steps=1", "planner.ground.segment=1"
    )
    found = training.iterate()
    training.close()
    errors = {found[f"dream_quality/latent_error_{step}"] for step in ("first", "half", "last")}
    assert len(errors) == 1


def test_numbers_of_a_known_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of a dream is the eighth at most; what cannot be told is absent."""
    monkeypatch.setattr("planners.diagnosis.model_health", lambda *_: {})
    walks, _ = drift.sequences(40, 12)
    found = diagnosis(drift.agent(error=(0.0, 0.5)), walks, 0.9, dreams=True)
    assert set(found) == QUALITY
    assert found["dream_quality/latent_error_last"] == pytest.approx(8 * found["dream_quality/latent_error_first"])
    assert found["dream_quality/latent_error_half"] == pytest.approx(4 * found["dream_quality/latent_error_first"])
    assert found["dream_quality/reward_error_last"] == pytest.approx(7.0)
    assert found["dream_quality/value_error_last"] == found["dream_quality/calibration_error"] == 0.0
    assert found["dream_quality/brier_score"] == 0.0 < found["dream_quality/still_error_last"]
    walks["next", "reward"].zero_()
    assert QUALITY - set(diagnosis(drift.agent(), walks, 0.9, dreams=True)) == {"dream_quality/return_correlation"}


def test_errors_of_single_steps_by_hand(agent: Agent) -> None:
    """Of 32 rewards the largest is one, and the model's own largest is elsewhere."""
    batch = experience(agent)
    batch["next", "reward"][2, 3] = -50.0
    model, reward = agent.world_model, batch["next", "reward"].squeeze(-1)
    latent, after = beliefs = model.believe(batch)
    predicted = model.reward(latent, batch["action"])
    assert predicted.abs().argmax() != reward.abs().argmax()
    found = model_health(agent, batch, beliefs)
    transition = (model.mean(model.join(latent, batch["action"])) - after).square().sum(-1).mean()
    assert found["model/transition_distance"] == pytest.approx(float(transition))
    assert found["model/reward_distance"] == pytest.approx(float((predicted - reward).square().mean()))
    assert found["model/termination_distance"] == pytest.approx(float(batch["next", "terminated"].float().mean()))
    assert found["model/reward_error_on_largest"] == pytest.approx(float(predicted[2, 3]) + 50.0)
    assert 1.0 < found["model/effective_rank"] < 4.0 and found["model/dead_units"] == 0.0
    assert 0.1 < found["model/latent_spread"] < 1.0
