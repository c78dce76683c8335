"""The dream phase: the policy improves on imagined experience that starts at encoded real states.

Encoder and model are frozen, and nothing in a dream carries gradient into them. A terminated dream is
absorbing: what comes after its end has no weight (``alive``) and contributes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.distributions import Categorical
from torchrl.objectives import LossModule
from torchrl.objectives.value.functional import generalized_advantage_estimate

from planners.agent import Agent
from planners.guards import Neighborhood
from planners.heads import Heads, entropy, log_prob_of
from planners.optimization import Adam, Mean, Optimizers, at_least_one, shuffled
from planners.real_returns import RealValueLoss, real_returns
from planners.schedules import Schedule
from planners.value_scale import ValueScale
from world_models.contract import WorldModel
from world_models.names import no_such

#: Latent numbers that are dreamt on together: wide latents go in pieces that stay in a processor's cache.
CHUNK = 400_000


#: How a dream ends, from the probability of an end at each step. ``sampled`` draws it, as the paper does.
#: ``expected`` weighs what follows with the probability of getting there, which has the same expectation and not
#: the spread: an end that is wrongly drawn once in 300 steps costs a whole return, and drowns small advantages.
ENDS: dict[str, Callable[[Tensor], Tensor]] = {"expected": torch.clone, "sampled": torch.bernoulli}


@torch.no_grad()
def imagine(world_model: WorldModel, heads: Heads, latent: Tensor, horizon: int, ends: str = "sampled") -> TensorDict:
    """Dreams ``horizon`` steps from each latent under the latent policy.

    For ``h = 1..H``: ``a ~ pi̅(.|z)``, ``z' ~ P̄(.|z,a)``, ``r = R̄(z,a)``, and an end with probability
    ``D̄(z,a,z')`` (Deep SPI's dream). Dreams still alive after the last step are truncated, not terminated.

    Args:
        latent: starts ``[M, *latent_shape]``.
        horizon: H, at least 1.
        ends: ``sampled`` or ``expected``, see ``ENDS``.

    Returns:
        A TensorDict ``[M, H]``: ``latent``, ``action``, ``action_log_prob``, ``logits`` (of the policy that
        dreamt), ``state_value``, ``alive`` (weight in [0, 1]: the probability that the step is reached, or whether
        it is), and ``next`` with ``latent``, ``state_value``, ``reward``, ``termination`` (probability of an end
        here, or 0 and 1), ``terminated``, ``truncated``, ``done``.
    """
    latents, heads_out, imagined, actions, terminations = [latent], [heads(latent)], [], [], []
    for _ in range(horizon):
        actions.append(Categorical(logits=heads_out[-1].logits, validate_args=False).sample())
        imagined.append(world_model.imagine(latents[-1], actions[-1]))
        terminations.append(ENDS[ends](imagined[-1].termination))
        latents.append(imagined[-1].next_latent)
        heads_out.append(heads(latents[-1]))
    walk = torch.stack(latents, 1)
    logits = torch.stack([out.logits for out in heads_out], 1)
    value = torch.stack([out.value for out in heads_out], 1).unsqueeze(-1)
    action = torch.stack(actions, 1)
    termination = torch.stack(terminations, 1)
    going_on = (1.0 - termination).cumprod(1)
    alive = torch.cat((torch.ones_like(going_on[:, :1]), going_on[:, :-1]), 1)
    terminated = going_on == 0.0
    truncated = torch.zeros_like(terminated)
    truncated[:, -1] = ~terminated[:, -1]
    reward = torch.stack([step.reward for step in imagined], 1) * (alive > 0.0)
    return TensorDict(
        {
            "latent": walk[:, :-1],
            "action": action,
            "action_log_prob": log_prob_of(logits[:, :-1], action),
            "logits": logits[:, :-1],
            "state_value": value[:, :-1],
            "alive": alive,
            "next": {
                "latent": walk[:, 1:],
                "state_value": value[:, 1:],
                "reward": reward.unsqueeze(-1),
                "termination": termination.unsqueeze(-1),
                "uncertainty": torch.stack([step.uncertainty for step in imagined], 1).unsqueeze(-1),
                "terminated": terminated.unsqueeze(-1),
                "truncated": truncated.unsqueeze(-1),
                "done": (terminated | truncated).unsqueeze(-1),
            },
        },
        batch_size=action.shape,
    )


class DreamLoss(LossModule):
    """PPO on imagined transitions ``[M]``.

    The gradient's ratio is taken to the policy that dreamt, the interval is the neighborhood of a *reference*
    policy: ``ratio = pi / pi_dreamt`` is clipped to ``[2 - C, C] * pi_reference / pi_dreamt``, so that the step
    away from the reference is bounded as a whole, however many dreams it took.

    Reads ``in_keys``, returns the scalars ``out_keys``.
    """

    in_keys = ["latent", "action", "action_log_prob", "reference_log_prob", "advantage", "value_target", "alive"]
    out_keys = ["loss_objective", "loss_value", "loss_entropy", "entropy"]

    def __init__(
        self, heads: Heads, neighborhood: Neighborhood, value_scale: ValueScale, value: float, entropy: float
    ) -> None:
        super().__init__()
        self.heads, self.surrogate = heads, neighborhood.surrogate
        self.lower, self.upper = neighborhood.interval
        self.value_scale, self.value, self.entropy = value_scale, value, entropy

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """See the class."""
        weight = tensordict["alive"]
        weight = weight / weight.sum().clamp_min(1.0)
        logits, value = self.heads(tensordict["latent"])
        ratio = (log_prob_of(logits, tensordict["action"]) - tensordict["action_log_prob"]).exp()
        shift = (tensordict["reference_log_prob"] - tensordict["action_log_prob"]).exp()
        advantage = tensordict["advantage"].squeeze(-1)
        mean = (weight * advantage).sum()
        deviation = (weight * (advantage - mean).square()).sum().sqrt()
        utility = (advantage - mean) / (deviation + 1e-8)
        objective = self.surrogate(ratio, utility, self.lower * shift, self.upper * shift)
        error = (value - tensordict["value_target"].squeeze(-1)).square()
        spread = (weight * entropy(logits)).sum()
        return TensorDict(
            {
                "loss_objective": -(weight * objective).sum(),
                "loss_value": self.value / self.value_scale.square * (weight * error).sum(),
                "loss_entropy": -self.entropy * spread,
                "entropy": spread.detach(),
            }
        )


class Behavior(NamedTuple):
    """The policy that gathered a batch: its heads, and its log-probabilities ``[M, A]`` on the batch's states.

    The two differ where the encoder has moved since. ``moved`` says whether the agent's heads may have as well."""

    heads: Heads
    logits: Tensor
    moved: bool = True


#: The latent policies that a dream's update may be bound to: the one that gathered the batch, the one that dreamt.
BOUNDS = ("behavior", "dreamer")


class Dream:
    """Several dreams from the states of one batch, each followed by PPO on it.

    Args:
        agent: its heads are trained, its world model dreams.
        batch_shape: environments and steps per batch, ``(N, T)``; each state starts one dream.
        neighborhood: what the policy's whole step is held in.
        value_scale: unit of the critic's errors.
        gamma: discount.
        lmbda: GAE's lambda.
        optimizers: settings by name; only the role ``heads`` may be trained in a dream.
        horizon: imagined steps per dream, H.
        ends: how a dream ends: ``expected`` or ``sampled``, see ``ENDS``.
        repeats: dreams per batch.
        epochs: passes over each dream.
        minibatches: updates per pass.
        bound: the policy whose neighborhood bounds the update: ``behavior`` or ``dreamer``.
        pessimism: reward that a unit of the model's own uncertainty costs in the dream (MOPO, Yu et al. 2020).
        veto: whether the policy is taken back where the batch speaks against it, see ``planners/veto.py``.
        beta: weight of the dream over training; it scales the learning rate.
        value: weight of the squared error of the critic.
        real_value: weight of its squared error to real returns; with 0 it learns in the dream alone, as in the paper.
        entropy: weight of the entropy bonus.
    """

    def __init__(
        self,
        agent: Agent,
        batch_shape: tuple[int, int],
        neighborhood: Neighborhood,
        value_scale: ValueScale,
        gamma: float,
        lmbda: float,
        optimizers: Mapping[str, Adam | None],
        horizon: int,
        ends: str,
        repeats: int,
        epochs: int,
        minibatches: int,
        bound: str,
        pessimism: float,
        veto: bool,
        beta: Schedule,
        value: float,
        real_value: float,
        entropy: float,
    ) -> None:
        if bound not in BOUNDS:
            raise no_such("policy", "planner.dream.bound", bound, BOUNDS)
        if ends not in ENDS:
            raise no_such("way to end", "planner.dream.ends", ends, ENDS)
        for key, number in (("pessimism", pessimism), ("real_value", real_value)):
            if number < 0:
                raise ValueError(f"planner.dream.{key}={number}: at least 0")
        at_least_one("dream", horizon=horizon, repeats=repeats, epochs=epochs, minibatches=minibatches)
        if (batch_shape[0] * batch_shape[1] * horizon) % minibatches:
            raise ValueError(
                f"planner.dream.minibatches={minibatches} does not divide the {batch_shape[0] * batch_shape[1]} x "
                f"{horizon} imagined steps of a dream"
            )
        self.agent, self.neighborhood, self.gamma, self.lmbda = agent, neighborhood, gamma, lmbda
        self.horizon, self.repeats, self.epochs, self.minibatches = horizon, repeats, epochs, minibatches
        self.ends, self.bound, self.pessimism, self.veto, self.beta = ends, bound, pessimism, veto, beta
        self.steps = batch_shape[0] * batch_shape[1] * horizon * repeats
        self.imagine = imagine
        self.loss = DreamLoss(agent.heads, neighborhood, value_scale, value, entropy)
        self.real_loss = RealValueLoss(agent.heads, value_scale, real_value)
        self.optimizers = Optimizers(agent, optimizers, "dream")
        if not self.optimizers.roles <= {"heads"}:
            raise ValueError("planner.dream.optimizers: a dream trains the role heads only")

    def run(self, start: Tensor, batch: TensorDictBase, behavior: Behavior, progress: float) -> dict[str, float]:
        """Dreams from the latents ``[M, *latent_shape]`` of the states of a batch ``[N, T]``, and updates the heads;
        returns means under ``dream/``."""
        beta = self.beta(progress)
        if beta == 0.0:
            return {"dream/beta": 0.0, "dream/steps": 0.0}
        self.optimizers.set_progress(progress, beta)
        policy = partial(self.latent_policy, start)
        watch = self.neighborhood.watch(
            policy, behavior.logits if self.bound == "behavior" else policy(), self.optimizers
        )
        mean = Mean()
        real = real_returns(self.agent.world_model, start, batch, self.gamma) if self.real_loss.weight else None
        for repeat in range(self.repeats):
            apart = self.bound == "behavior" and (behavior.moved or repeat > 0)
            dream = self.dream(start, behavior.heads if apart else None)
            with self.optimizers.training():
                for losses in self.losses(dream.select(*self.loss.in_keys), real):
                    self.optimizers.step(losses)
                    mean.add(losses)
                    if not (inside := watch.step()):
                        break
            if not inside:
                break
        self.optimizers.check()
        kept = {f"dream/{key}": value for key, value in watch.close().items()}
        return mean.result("dream") | summary(dream) | kept | {"dream/beta": beta, "dream/steps": float(self.steps)}

    def losses(self, dream: TensorDictBase, real: TensorDictBase | None) -> Iterator[TensorDictBase]:
        """Those of each minibatch in turn, as its update is reached. A pass goes through the dream ``[M, H]`` and the
        real returns beside it, ``[K]``."""
        beside = shuffled(0 if real is None else len(real), self.minibatches, self.epochs)
        for indices, others in zip(shuffled(dream.numel(), self.minibatches, self.epochs), beside, strict=True):
            losses = self.loss(dream[indices // self.horizon, indices % self.horizon])
            if real is not None:
                losses.update(self.real_loss(real[others]))
            yield losses

    def compile(self) -> None:
        """From now on dreams and their losses are compiled, each when it is first needed."""
        self.imagine = torch.compile(imagine)
        self.loss.compile()
        self.real_loss.compile()

    @torch.no_grad()
    def latent_policy(self, latent: Tensor) -> Tensor:
        """Log-probabilities ``[M, A]`` of ``pi̅`` on latents."""
        return self.agent.heads(latent).logits

    @torch.no_grad()
    def dream(self, start: Tensor, reference: Heads | None) -> TensorDict:
        """One dream ``[M, H]`` with its advantages and the log-probabilities of the reference policy, by default of the
        policy that dreams."""
        chunks = start.split(max(CHUNK // start[0].numel(), 1))
        walk = partial(self.imagine, self.agent.world_model, self.agent.heads, horizon=self.horizon, ends=self.ends)
        # Next latents are next steps' latents but for the last, and nothing here reads them: wide ones cost a copy.
        dream: TensorDict = torch.cat([walk(latent=z).exclude(("next", "latent")) for z in chunks])
        after = dream["next"]
        advantage, target = generalized_advantage_estimate(
            self.gamma * (1.0 - after["termination"]),  # a tensor does as well
            self.lmbda,
            dream["state_value"],
            after["state_value"],
            after["reward"] - self.pessimism * after["uncertainty"],
            after["done"],
            after["terminated"],
        )
        log_prob = dream["action_log_prob"]
        if reference is not None:
            log_prob = log_prob_of(reference(dream["latent"]).logits, dream["action"])
        return dream.update({"advantage": advantage, "value_target": target, "reference_log_prob": log_prob})


def summary(dream: TensorDictBase) -> dict[str, float]:
    """What a dream looked like: undiscounted imagined reward per dream, share terminated, mean length in steps, and the
    model's mean uncertainty of a step."""
    after, alive = dream["next"], dream["alive"]
    end = alive[:, -1] * (1.0 - after["termination"][:, -1, 0])
    return {
        "dream/reward": float((after["reward"].squeeze(-1) * alive).sum(1).mean()),
        "dream/terminated": float((1.0 - end).mean()),
        "dream/length": float(alive.sum(1).mean()),
        "dream/uncertainty": float((after["uncertainty"].squeeze(-1) * alive).sum() / alive.sum()),
    }
