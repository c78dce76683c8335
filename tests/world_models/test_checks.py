"""The checks themselves: each catches what it is there for, and says what was expected and where to look."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import Independent, Normal
from torchrl.data import Bounded, Categorical, OneHot, Unbounded

from tests.world_models.support import observation_spec, unseeded
from world_models.checks import CHECKS, CheckFailed, Skipped, Subject, first_suited, run, sentence
from world_models.contract import Unsuited
from world_models.costs import Cost
from world_models.discrepancy import Wasserstein
from world_models.distributions import Point, SideBySide
from world_models.normal import NormalModel
from world_models.recurrent import RecurrentModel
from world_models.testing import verify, world_model_checks


def subject(model=NormalModel, **methods):
    """A model on flat observations, some of its methods (or attributes) replaced."""
    kind = type("Broken", (model,), methods)
    return Subject(lambda spec, actions: kind(spec, actions), observation_spec("flat"))


def losses(method="local_losses", **changes):
    """``local_losses`` with an entry changed by a function."""

    def changed(model, *given):
        found = getattr(NormalModel, method)(model, *given)
        return found.update({key: change(found[key]) for key, change in changes.items()})

    return changed


def transition(change):
    """A transition made of location and scale by another function."""

    def changed(model, latent, action):
        base = NormalModel.transition(model, latent, action).base_dist
        return change(base.loc, base.scale)

    return changed


class Biased(Normal):
    mean = property(lambda self: self.loc + 1.0)  # type: ignore[assignment]


class Unnormalized(Normal):
    def log_prob(self, value):
        return super().log_prob(value) + 1.0


def counted(model, latent, action):
    model.count = getattr(model, "count", 0) + 1
    return latent.sum(-1) + model.count


def offset(model, observation):
    model.offset = getattr(model, "offset", torch.randn(()))
    return model.encoder(observation) + model.offset


def awake(model, latent, action):
    step = NormalModel.imagine(model, latent, action)
    return step._replace(reward=model.reward(latent, action))


def cached(model, latent, action):
    if torch.is_grad_enabled() or not hasattr(model, "kept"):
        model.kept = NormalModel.transition(model, latent, action)
    return model.kept


def versioned(model, latent, action):
    version = [parameter._version for parameter in model.network.parameters()]
    if torch.is_grad_enabled():
        return NormalModel.transition(model, latent, action)
    if getattr(model, "kept", (None, None))[0] != version:
        model.kept = version, NormalModel.transition(model, latent, action)
    return model.kept[1]


def compared(model, latent, action):
    """One graph the first time; the second asks for the value of a tensor."""
    if getattr(model, "last", None) is None or not torch.equal(model.last, latent):
        model.last = latent
    return latent.sum(-1)


def dreaming(**changes):
    def imagine(model, latent, action):
        step = NormalModel.imagine(model, latent, action)
        return step._replace(**{key: change(getattr(step, key)) for key, change in changes.items()})

    return imagine


def one_hot(model, spec, actions):
    NormalModel.__init__(model, spec, actions)
    model.latent_spec = OneHot(64, dtype=torch.float32)


def beside(mean, scale):
    """A point, and a density that does not integrate to one."""
    point = Point(mean[..., :32], batch_shape=mean.shape[:-1], event_shape=torch.Size([32]))
    return SideBySide(point, Independent(Unnormalized(mean[..., 32:], scale[..., 32:]), 1))


def soft(model, observation):
    return torch.full_like(model.encoder(observation), 1 / 64)


def bounded(model, spec, actions):
    NormalModel.__init__(model, spec, actions)
    model.latent_spec = Bounded(-1e-3, 1e-3, (64,))


class BatchMean(Cost):
    def __call__(self, distribution, next_latent):
        return (distribution.mean - next_latent).square().mean()


def averaging(model, spec, actions):
    NormalModel.__init__(model, spec, actions, cost=BatchMean())


def standardized(model, latent, action, reward, *rest):
    found = NormalModel.local_losses(model, latent, action, reward, *rest)
    return found.update({"reward": found["reward"] / reward.std()})


def shared(model, latent, action, reward, *rest):
    found = NormalModel.local_losses(model, latent, action, reward, *rest)
    return found.update({"reward": found["reward"] / len(reward) if reward.ndim else found["reward"]})


def impure(model, latent, action):
    return latent.sum(-1) if latent.max() > 0 else -latent.sum(-1)


def shy(model, observation):
    return NormalModel.encode(model, observation) * (1 if observation.sum() > 0 else -1)


def shy_dream(model, latent, action):
    step = NormalModel.imagine(model, latent, action)
    return step if latent.sum() > 0 else step._replace(reward=-step.reward)


def shy_losses(model, *given):
    return NormalModel.local_losses(model, *given) * (1 if given[0].sum() > 0 else -1)


SABOTAGE = [
    ("shapes", {"encode": lambda model, s: model.encoder(s)[..., :3]}, ["encode: a finite tensor [64]", "[3]"]),
    ("shapes", {"transition": transition(Normal)}, ["event shape [64]", "torch.distributions.Independent"]),
    (
        "shapes",
        {"local_losses": lambda model, z, a, r, y, t: {"reward": r}},
        ["the keys transition, reward", "keys reward"],
    ),
    ("shapes", {"local_losses": losses(reward=lambda loss: loss.double())}, ['local_losses["reward"]', "float64"]),
    ("shapes", {"reward": lambda model, z, a: z.sum(-1, keepdim=True)}, ["reward: a finite tensor []", "[1] of"]),
    ("shapes", {"termination": lambda model, z, a, y: z.sum(-1) / 0}, ["termination", "not finite"]),
    ("shapes", {"reward": lambda model, z, a: z @ a}, ["no error", "RuntimeError", "test_checks.py:", "<lambda>"]),
    ("shapes", {"__init__": averaging}, ["local_losses: one number a transition", "batch dimension"]),
    ("shapes", {"decode": lambda model, z: z}, ["decode: a finite tensor [4]", "[64] of"]),
    ("folding", {"reward": lambda model, z, a: z[..., 0] - z[..., 0].mean(-1, True)}, ["reward", "batch statistics"]),
    (
        "beliefs",
        {"latents": lambda model, batch: model.encode(batch["next", "observation"])},
        ["latents", "step by step"],
    ),
    (
        "beliefs",
        {"encode": lambda model, s: model.encoder(s) + torch.rand(())},
        ["encode: the same latent each time", "What is random belongs into transition"],
    ),
    ("roles", {"model_parameters": lambda model: model.parameters()}, ["one role", "encoder's and model's: encoder."]),
    ("roles", {"model_parameters": lambda model: model.network.parameters()}, ["neither", "reward_head"]),
    ("gradients_arrive", {"local_losses": losses(reward=torch.detach)}, ['local_losses["reward"] with', "no_grad"]),
    ("gradients_arrive", {"local_losses": losses(reward=lambda loss: 0 * loss)}, ["none for reward_head", "detach"]),
    ("gradients_stop", {"imagine": torch.enable_grad()(awake)}, ["imagine(...).reward without gradient"]),
    ("gradients_stop", {"local_distances": NormalModel.local_losses}, ["local_distances", "@torch.no_grad()"]),
    ("gradients_stop", {"target": lambda model, z, s: z}, ["as target_has_gradient is False", "encoded without"]),
    ("losses_are_per_transition", {"local_losses": losses(reward=lambda x: x - x.mean())}, ["no mean"]),
    ("losses_are_per_transition", {"local_losses": standardized}, ['local_losses["reward"]', "no normalization"]),
    ("losses_are_per_transition", {"local_losses": shared}, ['local_losses["reward"]', "other transitions"]),
    ("samples", {"transition": transition(lambda *x: Independent(Biased(*x), 1))}, ["samples with the mean"]),
    ("samples", {"transition": transition(lambda m, s: Independent(Normal(m.detach(), s.detach()), 1))}, ["rsample()"]),
    ("dreams", {"imagine": dreaming(next_latent=torch.zeros_like)}, ["samples with the mean", "next_latent"]),
    ("dreams", {"imagine": dreaming(reward=lambda r: r + 100)}, ["imagine(...).reward", "differ by up to 100"]),
    ("dreams", {"imagine": dreaming(termination=lambda t: t + 7)}, ["imagine(...).termination", "up to 7"]),
    ("dreams", {"imagine": dreaming(uncertainty=lambda u: u + 1)}, ["as tells_uncertainty is False", "1 to 1"]),
    (
        "shapes",
        {"imagine": dreaming(uncertainty=lambda u: u.unsqueeze(-1))},
        ["imagine(...).uncertainty: a finite tensor []", "[1] of"],
    ),
    ("shapes", {"__init__": one_hot}, ["encode: a latent of latent_spec, which is OneHot", "with sums from"]),
    ("shapes", {"__init__": one_hot, "encode": soft}, ["encode: a latent of latent_spec", "from 0.01562 to 0.01562"]),
    ("shapes", {"__init__": bounded}, ["encode: a latent of latent_spec, which is Bounded", "values from"]),
    (
        "densities",
        {"transition": transition(lambda *x: Independent(Unnormalized(*x), 1))},
        ["integrates to 1", "2.718"],
    ),
    ("densities", {"transition": transition(beside)}, ["integrates to 1", "2.718"]),
    ("probabilities", {"termination": lambda model, z, a, y: z.sum(-1)}, ["[0, 1]", ".sigmoid()"]),
    (
        "distances",
        {"local_distances": NormalModel.local_losses},
        ["summed over latent dimensions", "coupling_distance"],
    ),
    ("distances_bound_wasserstein", {"local_distances": NormalModel.local_losses}, ["at least the Wasserstein"]),
    ("lipschitz", {"__init__": lambda model, *given: claim(model, *given)}, ["transition_lipschitz=1 claims"]),
    ("state_dict", {"encode": offset}, ["encode: the same bits", "register_buffer"]),
    ("state_dict", {"get_extra_state": lambda model: Path("x")}, ["weights_only=True", "['_extra_state']"]),
    ("seeds", {"reward": counted}, ["imagine: the same values", "no state that a call leaves behind"]),
    ("seeds", {"stochastic": False}, ["imagine: the same next latent each time", "leaves it True"]),
    ("weights_are_followed", {"transition": cached}, ["with and without gradient", "torch.equal"]),
    ("weights_are_followed", {"transition": versioned}, ["with and without gradient", "torch.equal"]),
    ("compiles", {"reward": impure}, ["one graph", "a break:"]),
    ("compiles", {"reward": compared}, ["one graph", "a break:"]),
    ("compiles", {"encode": shy}, ["encode in one graph", "a break:"]),
    ("compiles", {"imagine": shy_dream}, ["imagine in one graph", "a break:"]),
    ("compiles", {"local_losses": shy_losses}, ["local_losses in one graph", "a break:"]),
    ("learns_a_chain", {"local_losses": losses(reward=lambda loss: -loss)}, ["reward error below 0.2", "updates"]),
]


def claim(model, spec, actions):
    NormalModel.__init__(model, spec, actions)
    model.transition_lipschitz = 1.0


NAMED = {check.__name__: check for check in CHECKS}


@pytest.mark.parametrize(("name", "methods", "parts"), SABOTAGE, ids=lambda x: x if isinstance(x, str) else "")
def test_each_mistake_is_caught_and_explained(name, methods, parts, monkeypatch):
    monkeypatch.setattr("world_models.checks.learning.UPDATES", 100)
    with pytest.raises(CheckFailed) as failure:
        run(NAMED[name], subject(**methods))
    told = str(failure.value)
    for part in ("expected: ", "got: ", "look at: ", *parts):
        assert part in told, told


def test_a_small_claim_is_refuted_in_the_reward_too():
    with pytest.raises(CheckFailed, match="reward_lipschitz=0.001 claims"):
        run(NAMED["lipschitz"], Subject(small_claim, observation_spec("flat")))


def small_claim(spec, actions):
    model = unseeded("mixture_paper", spec, actions)
    model.reward_lipschitz = 0.001
    return model


def test_a_claim_about_several_one_hots_is_refuted():
    with pytest.raises(CheckFailed, match="transition_lipschitz=1 claims"):
        run(NAMED["lipschitz"], Subject(bold, observation_spec("flat")))


def bold(spec, actions):
    model = unseeded("categorical", spec, actions)
    model.transition_lipschitz = 1.0
    return model


def test_a_cost_that_learns_keeps_its_optimizer_in_the_state():
    """Which is no tensor, and survives a file all the same."""
    given = Subject(lambda *arguments: NormalModel(*arguments, cost=Wasserstein(updates=1)), observation_spec("flat"))
    for name in ("state_dict", "seeds", "weights_are_followed", "losses_are_per_transition"):
        run(NAMED[name], given)


class Remembering(RecurrentModel, NormalModel):
    """A latent of what is seen and of what was: a recurrent model that the checks have nothing against."""

    def __init__(self, spec, actions):
        super().__init__(spec, actions)
        self.memory_spec = Unbounded((8,))
        self.recall = torch.nn.Linear(64 + actions, 8)
        self.encoder.extend = torch.nn.Linear(8, 64)

    def embed(self, observation):
        return self.encoder(observation)

    def infer(self, embedding, memory):
        return embedding + self.encoder.extend(memory)

    def remember(self, latent, action):
        chosen = torch.nn.functional.one_hot(action, self.num_actions).float()
        return self.recall(torch.cat((latent, chosen), -1)).tanh()


test_a_recurrent_model = world_model_checks(Remembering, observation_spec("flat"))


class Forgetful(Remembering):
    """Carries the memory over an episode's end."""

    def believe(self, experience):
        endless = experience.clone()
        endless["next", "done"].zero_()
        return super().believe(endless)


class Ignorant(Remembering):
    """Takes no notice of the memory that a segment begins with."""

    def latents(self, experience):
        return super().latents(experience.clone().update({"memory": torch.zeros_like(experience["memory"])}))


class Literal(Remembering):
    """Takes the memory of every step from experience: the same, as long as the parameters are those that left it."""

    def latents(self, experience):
        return self.encode(experience["observation"], experience["memory"])


def test_memories_in_experience_are_those_that_steps_left():
    given = Subject(Literal, observation_spec("flat"))
    run(NAMED["beliefs"], given)
    batch = given.experience(given.model, 16, 5)
    memory, done = batch["memory"], batch["next", "done"].squeeze(-1)[:, :-1]
    assert (memory[:, 0] != 0).any(-1).all() and (memory[:, 1:][done] == 0).all()
    assert (memory[:, 1:][~done] != 0).any(-1).all()


def test_a_recurrent_model_s_mistakes():
    for model, name, part in (
        (Ignorant, "beliefs", "latents: a segment begins with the memory in experience"),
        (Forgetful, "beliefs", "the next step begins without memory"),
        (type("Silent", (Remembering,), {"in_keys": ("observation",)}), "shapes", "in_keys ['observation', 'memory']"),
    ):
        with pytest.raises(CheckFailed) as failure:
            run(NAMED[name], Subject(model, observation_spec("flat")))
        assert part in str(failure.value)


def test_every_check_is_sabotaged_and_has_its_sentence():
    assert set(NAMED) - {name for name, *_ in SABOTAGE} == {"devices"}, "which needs a device"
    for check in CHECKS:
        assert sentence(check).endswith(".") and len(sentence(check)) > 30


def test_a_check_leaves_the_generator_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    run(NAMED["samples"], subject())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_chain_needs_four_observations():
    with pytest.raises(Skipped, match="fewer than four"):
        run(NAMED["learns_a_chain"], Subject(lambda spec, n: NormalModel(spec, n), Categorical(3, shape=())))


def test_a_model_that_refuses_everything():
    def build(spec, actions):
        raise Unsuited("needs a sound")

    with pytest.raises(Unsuited, match="needs a sound"):
        first_suited([Subject(build, observation_spec(kind)) for kind in ("flat", "image")])


@pytest.mark.parametrize("once", [True, False])
def test_a_failure_as_a_test_shows_three_lines_and_no_traceback(once):
    """A model that refuses everything fails the checks that are made once, and skips the others."""

    def refuse(spec, actions):
        raise Unsuited("needs a sound")

    check = NAMED["compiles" if once else "shapes"]
    with pytest.raises(pytest.fail.Exception if once else pytest.skip.Exception, match="needs a sound"):
        verify(check, [Subject(refuse, observation_spec("flat"))])
    with pytest.raises(pytest.fail.Exception) as failure:
        verify(NAMED["probabilities"], [subject(termination=lambda model, z, a, y: z.sum(-1))])
    assert failure.value.__context__ is None and len(str(failure.value).splitlines()) == 3


#: As an outside package writes it: one test for each check and observation.
test_an_outside_class = world_model_checks(NormalModel, observation_spec("flat"), num_actions=2, encoder="mlp")
test_an_outside_class_by_name = world_model_checks("world_models.deterministic.DeterministicModel", encoder="auto")
