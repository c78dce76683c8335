"""Reality's veto: its estimate against an exact value, and what it takes back."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from planners.veto import real_gain
from tests.planners.training import started


def experience(behavior: Tensor, pay: Tensor, count: int) -> TensorDict:
    """``[count, 1]`` pulls of a bandit whose actions pay ``pay``, with their exact advantages."""
    torch.manual_seed(0)
    action = torch.multinomial(behavior, count, replacement=True).unsqueeze(1)
    advantage = (pay - (behavior * pay).sum())[action]
    return TensorDict(
        {"action": action, "action_log_prob": behavior.log()[action], "advantage": advantage.unsqueeze(-1)}, (count, 1)
    )


def test_the_gain_is_what_a_bandit_really_gains() -> None:
    """In deviations of its advantages, which is what a batch tells, within the error of 100,000 pulls."""
    behavior, pay = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 1.0, 3.0])
    batch = experience(behavior, pay, 100_000)
    deviation = float((behavior * (pay - (behavior * pay).sum()).square()).sum().sqrt())
    for after in (torch.tensor([0.4, 0.3, 0.3]), torch.tensor([0.6, 0.3, 0.1])):
        before = torch.tensor([0.45, 0.35, 0.2])  # the encoder has moved the policy by then
        exact = float(((after - before) * pay).sum()) / deviation
        policies = (policy.log().expand(100_000, 3) for policy in (before, after))
        assert real_gain(batch, *policies) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("heads", ["Heads", "SeparateHeads"])
@pytest.mark.parametrize(("gain", "veto"), [(-0.1, True), (0.1, True), (-0.1, False)])
def test_the_veto_takes_the_policy_back(heads: str, gain: float, veto: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["planner=dreamspi", f"planner.dream.veto={veto}", f"planner.heads._target_=planners.heads.{heads}"]
    words.append("planner.dream.trust._target_=planners.trust.Full")  # else nothing may be left to take back
    training = started(*words)
    planner = training.planner

    def said(batch: TensorDictBase, before: Tensor, after: Tensor) -> float:
        latent = planner.agent.world_model.latents(batch).flatten(0, 1)
        torch.testing.assert_close(before, planner.start_heads(latent).logits)
        torch.testing.assert_close(after, planner.agent.heads(latent).logits)
        assert not torch.allclose(before, after)
        return gain

    monkeypatch.setattr("planners.planner.real_gain", said)
    metrics = training.iterate()
    training.close()
    taken_back = gain < 0.0 and veto
    now, before = planner.agent.heads, planner.start_heads
    assert torch.equal(now.actor.weight, before.actor.weight) == taken_back
    assert torch.equal(now.critic.weight, before.critic.weight) == (taken_back and heads == "Heads")
    assert (metrics["dream/real_gain"], metrics["dream/vetoed"]) == (gain, float(taken_back))
    assert (metrics["dream/d_sup"] == 1.0) == taken_back
