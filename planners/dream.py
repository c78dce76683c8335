"""The dream phase: the policy improves on imagined experience that starts at encoded real states.

Encoder and model are frozen, and only actor and critic learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.distributions import Categorical
from torchrl.objectives import LossModule
from torchrl.objectives.value.functional import generalized_advantage_estimate

from planners.agent import Agent
from planners.experience import take
from planners.guards import Neighborhood
from planners.heads import Heads, entropy, log_prob_of
from planners.imagination import CHUNK, ENDS, imagine, summary
from planners.optimization import Adam, Mean, Optimizers, at_least_one, not_below_zero, shuffled
from planners.real_returns import RealValueLoss, real_returns
from planners.schedules import Schedule
from planners.trust import Trust
from planners.value_scale import ValueScale
from world_models.contract import ImaginedStep
from world_models.names import no_such


class DreamLoss(LossModule):
    """PPO on imagined transitions ``[M]``.

    The gradient's ratio is taken to the policy that dreamt, the interval is the neighborhood of a *reference*
    policy: ``ratio = pi / pi_dreamt`` is clipped to ``[2 - C, C] * pi_reference / pi_dreamt``, so that the step
    away from the reference is bounded as a whole, however many dreams it took. Of both, of the interval and of what
    is asked of the policy, the dream has a ``share``, 1 unless a ``Trust`` says less.

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
        # One tensor, filled anew, as ``ValueScale.square``.
        self.share = torch.ones((), device=next(heads.parameters()).device)

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
        lower, upper = (1.0 + self.share * (border - 1.0) for border in (self.lower, self.upper))
        objective = self.surrogate(ratio, utility, lower * shift, upper * shift)
        error = (value - tensordict["value_target"].squeeze(-1)).square()
        spread = (weight * entropy(logits)).sum()
        return TensorDict(
            {
                "loss_objective": -self.share * (weight * objective).sum(),
                "loss_value": self.value / self.value_scale.square * (weight * error).sum(),
                "loss_entropy": -self.share * self.entropy * spread,
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
        trust: how far a dream is believed, see ``planners/trust.py``.
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
        trust: Trust,
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
        not_below_zero("dream", pessimism=pessimism, value=value, real_value=real_value, entropy=entropy)
        if pessimism and not agent.world_model.tells_uncertainty:
            raise ValueError(
                f"planner.dream.pessimism={pessimism}: this world model does not tell how uncertain it is, so that "
                "there is nothing to price; world_model=ensemble does (a class of one's own sets tells_uncertainty)"
            )
        at_least_one("dream", horizon=horizon, repeats=repeats, epochs=epochs, minibatches=minibatches)
        if (batch_shape[0] * batch_shape[1] * horizon) % minibatches:
            raise ValueError(
                f"planner.dream.minibatches={minibatches} does not divide the {batch_shape[0] * batch_shape[1]} x "
                f"{horizon} imagined steps of a dream"
            )
        self.agent, self.neighborhood, self.gamma, self.lmbda = agent, neighborhood, gamma, lmbda
        self.horizon, self.repeats, self.epochs, self.minibatches = horizon, repeats, epochs, minibatches
        self.ends, self.bound, self.pessimism, self.beta = ends, bound, pessimism, beta
        self.trust, self.veto = trust, veto
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
        expected = self.judge(start, batch, behavior)
        real = real_returns(start, expected, batch, self.gamma) if self.real_loss.weight else None
        steps = 0
        for repeat in range(self.repeats):
            apart = self.bound == "behavior" and (behavior.moved or repeat > 0)
            dream = self.dream(start, behavior.heads if apart else None)
            steps += dream.numel()
            with self.optimizers.training():
                for losses in self.losses(dream.select(*self.loss.in_keys), real):
                    self.optimizers.step(losses)
                    mean.add(losses)
                    if not (inside := watch.step()):
                        break
            if not inside:
                break
        self.optimizers.check()
        told = {"beta": beta, "steps": float(steps), "slope": self.trust.slope, "share": self.trust.share}
        told |= watch.close()
        return mean.result("dream") | summary(dream) | {f"dream/{key}": value for key, value in told.items()}

    def judge(self, start: Tensor, batch: TensorDictBase, behavior: Behavior) -> Tensor:
        """Sets the share that the dreams of a batch have; returns the latents ``[M, *latent_shape]`` that the model
        expects after what was done."""
        model, done = self.agent.world_model, batch["action"].flatten()
        drawn = Categorical(logits=behavior.logits, validate_args=False).sample()
        led_to = model.imagine(start, done)
        first = self.worth(led_to) - self.worth(model.imagine(start, drawn))
        second = first
        if model.stochastic:
            second = self.worth(model.imagine(start, done)) - self.worth(model.imagine(start, drawn))
        self.trust.update(batch["advantage"].flatten(), first, second)
        self.loss.share.fill_(self.trust.share)
        return led_to.next_latent

    @torch.no_grad()
    def worth(self, step: ImaginedStep) -> Tensor:
        """What imagined steps ``[M]`` are worth: reward, less its price, and the discounted value of what follows."""
        value = self.agent.heads(step.next_latent).value
        return step.reward - self.pessimism * step.uncertainty + self.gamma * (1.0 - step.termination) * value

    def losses(self, dream: TensorDictBase, real: TensorDictBase | None) -> Iterator[TensorDictBase]:
        """Those of each minibatch in turn, as its update is reached. A pass goes through the dream ``[M, H]`` and the
        real returns beside it, ``[K]``."""
        steps = dream.reshape(-1)
        beside = shuffled(0 if real is None else len(real), self.minibatches, self.epochs)
        for indices, others in zip(shuffled(len(steps), self.minibatches, self.epochs), beside, strict=True):
            losses = self.loss(take(steps, indices))
            if real is not None:
                losses.update(self.real_loss(take(real, others)))
            yield losses

    def compile(self, **options: Any) -> None:
        """From now on dreams and their losses are compiled, each when it is first needed, with these options of
        ``torch.compile``."""
        self.imagine = torch.compile(imagine, **options)
        self.loss.compile(**options)
        self.real_loss.compile(**options)

    @torch.no_grad()
    def latent_policy(self, latent: Tensor) -> Tensor:
        """Log-probabilities ``[M, A]`` of ``pi̅`` on latents."""
        return self.agent.heads(latent).logits

    @torch.no_grad()
    def dream(self, start: Tensor, reference: Heads | None) -> TensorDict:
        """One dream ``[M, H]`` with its advantages and the log-probabilities of the reference policy, by default of the
        policy that dreams."""
        # One piece on a GPU: a second would overwrite what a CUDA graph gave as the first.
        rows = max(CHUNK // start[0].numel(), 1) if start.device.type == "cpu" else len(start)
        walk = partial(self.imagine, self.agent.world_model, self.agent.heads, horizon=self.horizon, ends=self.ends)
        # Next latents are next steps' latents but for the last, and nothing here reads them: wide ones cost a copy.
        dream: TensorDict = torch.cat([walk(latent=z).exclude(("next", "latent")) for z in start.split(rows)])
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
