"""The tabular model: the identity at first, exact in the end."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torchrl.data import Categorical

from dreamspi.training import Training
from tests.runner.support import assert_same_run, configured, resume, trained
from tests.world_models.support import ACTIONS, build, observation_spec, observations
from world_models.contract import Unsuited
from world_models.tabular import RewardTable, TabularModel

INTEGERS = Categorical(6, shape=())


def transitions(model, count=64):
    """Random transitions of a model for ``INTEGERS``."""
    now, then = torch.randint(6, (2, count))
    action, reward = torch.randint(ACTIONS, (count,)), torch.randn(count)
    return model.encode(now), action, reward, model.target(model.encode(then), then), torch.rand(count) < 0.3


def test_before_training_an_integer_is_its_own_latent():
    model = build("tabular", INTEGERS)
    assert model.latent_spec.shape == (6,)
    assert torch.equal(model.encode(torch.arange(6)), torch.eye(6))


def test_before_training_pictures_are_latents_in_the_order_of_their_appearance():
    spec = observation_spec("cells")
    model = build("tabular", spec)
    torch.manual_seed(1)
    shown = spec.expand(64, *spec.shape).rand()
    assert torch.equal(model.encode(shown), torch.eye(64))
    assert torch.equal(model.encode(shown[[3, 60]].unsqueeze(0)), torch.eye(64)[[3, 60]].unsqueeze(0))


def test_before_training_nothing_is_expected_to_happen():
    model = build("tabular", INTEGERS)
    latent, action = torch.eye(6).repeat(ACTIONS, 1), torch.arange(ACTIONS).repeat_interleave(6)
    assert torch.allclose((model.transition(latent, action).probs * latent).sum(-1), torch.tensor(0.9))
    assert (model.reward(latent, action) == 0).all()
    assert torch.allclose(model.termination(latent, action, latent), torch.tensor(0.02))


def test_classes_are_shared_only_where_asked_for():
    with pytest.raises(Unsuited, match=r"world_model\.classes=4: the environment has 6 .*observations=6"):
        build("tabular", INTEGERS, classes=4)
    model = build("tabular", INTEGERS, classes=4, observations=6)
    assert model.encode(torch.arange(6)).argmax(-1).tolist() == [0, 1, 2, 3, 0, 1]


def test_numbers_are_restored_with_the_state():
    spec = observation_spec("cells")
    model, other = build("tabular", spec), build("tabular", spec)
    shown = observations(spec, 30)
    latent = model.encode(shown)
    other.encode(shown.flip(0))
    assert not torch.equal(other.encode(shown), latent)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.encode(shown), latent)


def test_gradients_reach_every_table_and_none_a_dream():
    model = build("tabular", INTEGERS, target={"_target_": "world_models.targets.Gradient"})
    torch.nn.init.normal_(model.reward_head.table.entries)  # all alike, they tell the encoder nothing
    losses = model.local_losses(*transitions(model))
    for key, own in (
        ("transition", model.network),
        ("reward", model.reward_head),
        ("termination", model.termination_head),
    ):
        model.zero_grad()
        losses[key].mean().backward(retain_graph=True)
        for part in (own, model.encoder):
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters()), key
    step = model.imagine(torch.eye(6), torch.zeros(6, dtype=torch.long))
    assert not any(tensor.requires_grad for tensor in step)
    assert torch.equal(step.next_latent.sum(-1), torch.ones(6)) and model.latent_spec.is_in(step.next_latent[0])


def test_the_encoder_can_leave_the_identity():
    """It starts there, but a gradient that insists moves an observation to another latent."""
    model = build("tabular", INTEGERS)
    optimizer = torch.optim.Adam(model.encoder_parameters(), 0.05)
    wanted = torch.eye(6)[[1, 1, 2, 3, 4, 5]]
    for _ in range(100):
        optimizer.zero_grad()
        (model.encode(torch.arange(6)) - wanted).square().sum().backward()
        optimizer.step()
    assert torch.equal(model.encode(torch.arange(6)), wanted)


def test_a_slow_target_shares_the_numbers():
    """Its copy of the table must know an observation by the same number, whoever saw it first."""
    spec = observation_spec("cells")
    model = build("tabular", spec, target={"_target_": "world_models.targets.Slow"})
    shown = observations(spec, 30)
    now, then = shown[:15], shown[15:].flip(0)
    model.encode(now)
    next_latent = model.encode(then)
    assert torch.equal(model.target(next_latent, then), next_latent)
    model.after_update()
    assert torch.equal(model.target(next_latent, then), next_latent)


def test_learns_a_random_chain_exactly():
    """Three states; of 10 tries from state 0, 7 lead to 1 and 3 to 2, and 4 pay 5; state 1 ends; 2 loses 47."""
    now = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    then = torch.tensor([1] * 7 + [2] * 3 + [2] * 10 + [0] * 5 + [2] * 5)
    reward = torch.tensor([5.0] * 4 + [0.0] * 6 + [1.0] * 10 + [-47.0] * 10)
    terminated = (now == 1) | ((now == 2) & (then == 2))
    action = torch.ones(30, dtype=torch.long)
    model = build("tabular", Categorical(3, shape=()))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(1000):
        target = model.target(model.encode(then), then)
        losses = model.local_losses(model.encode(now), action, reward, target, terminated)
        optimizer.zero_grad()
        sum(loss.mean() for loss in losses.values()).backward()
        optimizer.step()
    with torch.no_grad():
        latent, action = model.encode(torch.arange(3)), torch.ones(3, dtype=torch.long)
        probabilities = latent @ model.transition(latent, action).probs.T  # [s', s], should the classes have moved
        ends = model.termination(latent[[1, 2, 2]], action, latent[[2, 2, 0]])
    truth = torch.tensor([[0.0, 0.0, 0.5], [0.7, 0.0, 0.0], [0.3, 1.0, 0.5]])
    assert torch.allclose(probabilities, truth, atol=0.02)
    assert torch.allclose(model.reward(latent, action), torch.tensor([2.0, 1.0, -47.0]), atol=0.01)
    assert torch.allclose(ends, torch.tensor([1.0, 1.0, 0.0]), atol=0.02)


def test_the_transition_is_1_lipschitz_whatever_the_table():
    """W1 on one-hots, whose Euclidean distance is sqrt 2, is sqrt 2 times the total variation."""
    torch.manual_seed(0)
    model = build("tabular", INTEGERS)
    torch.nn.init.normal_(model.network.table.entries, std=2.0)
    assert model.transition_lipschitz == 1.0 and model.reward_lipschitz is None
    for action in range(ACTIONS):
        probabilities = model.transition(torch.eye(6), torch.full((6,), action)).probs
        W = math.sqrt(2) * 0.5 * (probabilities[:, None] - probabilities[None]).abs().sum(-1)
        ratio = W / torch.cdist(torch.eye(6), torch.eye(6)).clamp_min(1e-6)
        assert ratio.max() <= model.transition_lipschitz + 1e-5
        assert W.max() > 1.0, "the constant is not far from the truth"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"classes": 1}, "world_model.classes=1"),
        ({"observations": 0}, "world_model.observations=0"),
        ({"margin": 0.0}, "world_model.margin=0.0"),
        ({"network": {"stay": 1.0}}, "world_model.network.stay=1.0"),
        ({"reward": {"loss": "l3"}}, "world_model.reward.loss=l3"),
        ({"termination": {"initial": 0.0}}, "world_model.termination.initial=0.0"),
    ],
)
def test_bad_values_name_their_key(changes, key):
    with pytest.raises(ValueError) as error:
        build("tabular", INTEGERS, **changes)
    assert key in str(error.value)


def test_the_defaults_of_the_class_are_those_of_the_file():
    written, bare = build("tabular", INTEGERS), TabularModel(INTEGERS, ACTIONS)
    assert repr(written) == repr(bare)
    for (name, mine), (other, theirs) in zip(written.state_dict().items(), bare.state_dict().items(), strict=True):
        assert name == other and torch.equal(mine, theirs)
    assert isinstance(bare.reward_head, RewardTable) and bare.reward_head.kind == written.reward_head.kind
    assert type(bare.cost) is type(written.cost)


@pytest.mark.parametrize("env", ["maze", "gym/FrozenLake-v1"])
@pytest.mark.parametrize("planner", ["dreamspi", "hybrid"])
def test_planners_train_with_it(planner: str, env: str, tmp_path: Path) -> None:
    words = [f"planner={planner}", "world_model=tabular", f"env={env}", "log_every=1"]
    training = Training(configured(tmp_path, *words, iterations=4))
    training.start()
    before = {name: p.clone() for name, p in training.planner.agent.world_model.named_parameters()}
    rows = [training.iterate() for _ in range(4)]
    training.close()
    assert training.finished and all(math.isfinite(value) for row in rows for value in row.values())
    for name, parameter in training.planner.agent.world_model.named_parameters():
        # Nobody finds the frozen lake's reward in so few steps.
        assert torch.equal(parameter, before[name]) == (env != "maze" and name.startswith("reward")), name
    if env == "maze":  # its two choice cells look different, so they are different
        assert rows[-1]["maze_latent_distance"] > 0.1


def test_a_resumed_run_numbers_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an observation was numbered is part of what a run depends on."""
    words = ["planner=deepspi", "world_model=tabular", "env.max_steps=9"]
    whole = trained(tmp_path / "whole", *words, iterations=6, checkpoint=2)
    iterate = Training.iterate

    def broken(training: Training) -> dict[str, float]:
        if training.iteration == 3:
            raise InterruptedError
        return iterate(training)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Training, "iterate", broken)
        trained(tmp_path / "run", *words, iterations=6, checkpoint=2)
    assert resume(tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", whole)
