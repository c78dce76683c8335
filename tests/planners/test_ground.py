"""The ground phase: objectives against definitions, gradients against finite differences, frozen roles."""

from __future__ import annotations

import copy

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from planners.agent import Agent
from planners.ground import Ground, GroundLoss, normalize
from planners.optimization import Adam
from planners.rehearsal import Rehearsal
from planners.utility import Advantage, Auxiliary, Unified, Utility, Weighed
from planners.value_scale import ReturnDeviation, Reward
from tests.planners.ground_phase import CLIP, make, with_advantages
from tests.planners.linear_model import LinearModel
from tests.planners.roles import moved, snapshot


@pytest.mark.parametrize(
    ("utility", "roles"),
    [
        (Advantage(), ("encoder", "heads")),
        (Unified(1.0, 1.0), ("encoder", "model", "heads")),
        (Unified(1.0, 1.0), ("encoder", "model")),
        (Auxiliary(1.0, 1.0), ("encoder", "model", "heads")),
        (Unified(1.0, 1.0), ("model",)),
    ],
)
def test_only_the_named_roles_move(agent: Agent, utility: Utility, roles: tuple[str, ...]) -> None:
    before = snapshot(agent)
    make(agent, utility, roles).run(with_advantages(agent), 0.0)
    assert moved(agent, before) == set(roles)
    assert all(p.requires_grad for p in agent.parameters()), "what was frozen must be thawed"


def test_at_the_behavior_policy_deepspi_and_deepmdp_have_one_value(agent: Agent) -> None:
    """With every ratio 1 the unified utility and the auxiliary losses add up to the same number."""
    batch = with_advantages(agent)
    total = [
        GroundLoss(agent, utility, CLIP, Reward(), 0.0, 0.0)(batch)
        for utility in (Unified(0.3, 0.7), Auxiliary(0.3, 0.7))
    ]
    sums = [loss["loss_objective"] + loss["loss_auxiliary"] for loss in total]
    torch.testing.assert_close(sums[0], sums[1])
    penalty = 0.3 * (total[0]["local_reward"] + total[0]["local_termination"]) + 0.7 * total[0]["local_transition"]
    torch.testing.assert_close(sums[0], penalty, rtol=1e-4, atol=1e-5)  # advantages have mean zero


def test_the_ratio_weighs_the_losses_sample_by_sample(agent: Agent) -> None:
    batch = with_advantages(agent)
    shifted = batch.clone()
    shifted["action_log_prob"] = shifted["action_log_prob"] - torch.linspace(-0.5, 0.5, 32).view(4, 8)
    loss = GroundLoss(agent, Unified(0.3, 0.7), CLIP, Reward(), 0.0, 0.0)
    _, losses, _ = loss.believe(shifted)
    assert losses is not None
    utility = normalize(shifted["advantage"].squeeze(-1)) - 0.3 * (losses["reward"] + losses["termination"])
    utility = utility - 0.7 * losses["transition"]
    ratio = torch.linspace(-0.5, 0.5, 32).view(4, 8).exp()
    expected = -torch.minimum(ratio * utility, ratio.clamp(0.9, 1.1) * utility).mean()
    torch.testing.assert_close(loss(shifted)["loss_objective"], expected)


def test_the_other_losses_by_hand(agent: Agent) -> None:
    """Errors in deviations of 2, the entropy of a policy that tells states apart, ratios of which some are outside."""
    batch = with_advantages(agent)
    torch.nn.init.normal_(agent.heads.actor.weight)
    logits, value = agent.heads(agent.world_model.encode(batch["observation"]))
    policy = torch.distributions.Categorical(logits=logits)
    ratio = torch.linspace(0.85, 1.35, 32).view(4, 8)
    batch["action_log_prob"] = policy.log_prob(batch["action"]).detach() - ratio.log()
    scale = ReturnDeviation()
    scale.update(torch.tensor([1.0, 5.0]))
    found = GroundLoss(agent, Advantage(), CLIP, scale, 0.5, 0.01)(batch)
    expected = {
        "loss_value": 0.5 * (value - batch["value_target"].squeeze(-1)).square().mean() / 4.0,
        "loss_entropy": -0.01 * policy.entropy().mean(),
        "entropy": policy.entropy().mean().detach(),
        "clip_fraction": torch.tensor((4 + 16) / 32),
    }
    torch.testing.assert_close({key: found[key] for key in expected}, expected)


def test_gradient_against_finite_differences() -> None:
    """The whole loss, in double precision, along random directions of all parameters."""
    torch.manual_seed(1)
    agent = Agent(LinearModel(), hidden=6)
    batch = with_advantages(agent, envs=2, steps=4).apply(lambda t: t.double() if t.is_floating_point() else t)
    agent.double()
    batch["action_log_prob"] = batch["action_log_prob"] - 0.03 * torch.randn(2, 4, dtype=torch.float64)
    loss = GroundLoss(agent, Unified(0.3, 0.2), CLIP, Reward(), 0.5, 0.01)

    def total() -> Tensor:
        losses = loss(batch)
        return sum(losses[key] for key in losses.keys() if key.startswith("loss_"))  # type: ignore[return-value]

    parameters = list(agent.parameters())
    gradient = torch.autograd.grad(total(), parameters)
    for _ in range(5):
        direction = [torch.randn_like(p) for p in parameters]
        slope = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                for p, d in zip(parameters, direction, strict=True):
                    p += step * d
                values.append(total())
                for p, d in zip(parameters, direction, strict=True):
                    p -= step * d
        torch.testing.assert_close((values[0] - values[1]) / 2e-6, slope, rtol=1e-4, atol=1e-6)


def test_every_minibatch_sees_the_parameters_that_the_last_one_left(agent: Agent) -> None:
    """Two optimizers in one phase give what two plain steps in a row give, not two steps from a stale copy."""
    twin = copy.deepcopy(agent)
    batch = with_advantages(agent)
    settings = {"a": Adam(roles=("encoder", "heads"), lr=1e-2), "b": Adam(roles=("model",), lr=1e-2)}
    keys = {"epochs": 3, "minibatches": 1, "segment": 8, "value": 0.5, "entropy": 0.01}
    keys |= {"rehearsal": None, "clone": 0.0, "share": 1.0, "gamma": 0.9, "lmbda": 0.9}
    ground = Ground(
        agent,
        (4, 8),
        CLIP,
        Reward(),
        utility=Unified(1.0, 1.0),
        optimizers=settings,
        **keys,  # type: ignore[arg-type]
    )
    torch.manual_seed(5)
    ground.run(batch, 0.0)

    loss = GroundLoss(twin, Unified(1.0, 1.0), CLIP, Reward(), 0.5, 0.01)
    groups = [
        [*twin.parameters_of("encoder"), *twin.parameters_of("heads")],
        list(twin.parameters_of("model")),
    ]
    plain = [torch.optim.Adam(group, lr=1e-2, eps=1e-5) for group in groups]
    torch.manual_seed(5)
    for _ in range(3):
        losses = loss(batch[torch.randperm(4)])
        for optimizer in plain:
            optimizer.zero_grad()
        sum(losses[key] for key in losses.keys() if key.startswith("loss_")).backward()  # type: ignore[union-attr]
        for group, optimizer in zip(groups, plain, strict=True):
            torch.nn.utils.clip_grad_norm_(group, 0.5)
            optimizer.step()
    for a, b in zip(agent.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"segment": 3}, "segment=3 does not divide num_steps=8"),
        ({"minibatches": 3}, "minibatches=3 does not divide"),
        ({"clone": -1.0}, "clone=-1.0: at least 0"),
        ({"value": -1.0}, r"planner\.ground\.value=-1.0: at least 0"),
        ({"entropy": -0.1}, r"planner\.ground\.entropy=-0.1: at least 0"),
    ],
)
def test_wrong_settings(agent: Agent, keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(agent, Advantage(), ("encoder", "heads"), **keys)


def test_the_losses_tell_what_they_read_and_return(agent: Agent) -> None:
    """TorchRL's convention: ``in_keys`` are enough, ``out_keys`` all come."""
    loss = GroundLoss(agent, Unified(0.3, 0.7), CLIP, Reward(), 0.5, 0.01)
    found = loss(with_advantages(agent).select(*loss.in_keys))
    assert set(loss.out_keys) <= set(found.keys())


def test_a_clone_is_the_divergence_from_the_behavior_policy(agent: Agent) -> None:
    batch = with_advantages(agent)
    batch["logits"] = torch.randn_like(batch["logits"]).log_softmax(-1)
    loss = GroundLoss(agent, Unified(0.3, 0.7), CLIP, Reward(), 0.5, 0.01, clone=2.0)
    logits = agent.heads(agent.world_model.encode(batch["observation"])).logits
    behavior, policy = (torch.distributions.Categorical(logits=table) for table in (batch["logits"], logits))
    found = loss(batch.select(*loss.in_keys))["loss_clone"]
    torch.testing.assert_close(found, 2.0 * torch.distributions.kl_divergence(behavior, policy).mean())


def test_with_a_clone_the_encoder_moves_and_the_policy_stays(agent: Agent) -> None:
    """The critic asks for other latents, and the heads stand still."""
    batch = with_advantages(agent)
    torch.nn.init.normal_(agent.heads.actor.weight)  # a policy that tells states apart
    batch["logits"] = agent.log_policy(batch).reshape(batch["logits"].shape)
    batch["value_target"] = 3.0 * torch.randn_like(batch["value_target"])
    gone = []
    for clone in (0.0, 30.0):
        twin = copy.deepcopy(agent)
        make(twin, Advantage(), ("encoder",), clone=clone, epochs=30).run(batch, 0.0)
        before = batch["logits"].flatten(0, 1)
        gone.append((before.exp() * (before - twin.log_policy(batch))).sum(-1).mean().item())
        assert not torch.equal(twin.world_model.encoder.weight, agent.world_model.encoder.weight)
    assert gone[1] < 0.5 * gone[0]


@pytest.mark.parametrize(
    ("utility", "roles", "message"),
    [
        (Advantage(), ("encoder", "heads", "model"), "with the utility Advantage none may have the role model"),
        (Unified(1.0, 1.0), ("encoder", "heads"), "with the utility Unified one must have the role model"),
    ],
)
def test_a_model_learns_where_it_is_used_and_nowhere_else(
    agent: Agent, utility: Utility, roles: tuple[str, ...], message: str
) -> None:
    """Or a planner would dream in a model that nobody trains, or certify one."""
    with pytest.raises(ValueError, match=message):
        make(agent, utility, roles)


class Weightless(Utility):
    def __call__(self, advantage: Tensor, losses: TensorDictBase | None) -> Weighed:
        return Weighed(advantage, torch.zeros_like(advantage))


def test_a_utility_that_weighs_no_losses_has_no_rehearsal(agent: Agent) -> None:
    make(agent, Weightless(), ("encoder", "model"))
    with pytest.raises(ValueError, match="rehearsal: Weightless has no method penalty"):
        make(agent, Weightless(), ("encoder", "model"), rehearsal=Rehearsal(capacity=64, transitions=8, weight=1.0))
    with pytest.raises(NotImplementedError, match="Weightless does not say how rehearsed losses are weighed"):
        Weightless().penalty(TensorDict({}))
