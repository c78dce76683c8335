"""A look at the model before it learns: it changes nothing, and says only what the batch can tell."""

from __future__ import annotations

import pytest
import torch

from planners.diagnosis import diagnosis
from tests.planners.drift import agent, sequences
from tests.planners.test_planner import started, states

QUALITY = {
    "dream_quality/latent_error_first",
    "dream_quality/latent_error_last",
    "dream_quality/reward_error_last",
    "dream_quality/value_error_last",
    "dream_quality/return_correlation",
    "dream_quality/return_error",
    "dream_quality/return_bias",
    "dream_quality/calibration_error",
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
    assert found["dream_quality/latent_error_first"] == found["dream_quality/latent_error_last"]


def test_numbers_of_a_known_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of a dream is the eighth at most; what cannot be told is absent."""
    monkeypatch.setattr("planners.diagnosis.model_health", lambda *_: {})
    experience, _ = sequences(40, 12)
    found = diagnosis(agent(error=(0.0, 0.5)), experience, 0.9, dreams=True)
    assert set(found) == QUALITY
    assert found["dream_quality/latent_error_last"] == pytest.approx(8 * found["dream_quality/latent_error_first"])
    assert found["dream_quality/reward_error_last"] == pytest.approx(7.0)
    assert found["dream_quality/value_error_last"] == found["dream_quality/calibration_error"] == 0.0
    experience["next", "reward"].zero_()
    assert QUALITY - set(diagnosis(agent(), experience, 0.9, dreams=True)) == {"dream_quality/return_correlation"}
