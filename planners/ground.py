"""The ground phase: learning from real experience.

Epochs of minibatches over one fresh batch; each maximizes ``E min(ratio U, clip(ratio) U)`` with a utility
``U`` (PPO's advantage, or DeepSPI's with local losses inside), beside a value loss and an entropy bonus.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives import LossModule

from planners.agent import Agent
from planners.experience import facts, segments, take
from planners.guards import Neighborhood
from planners.heads import entropy, log_prob_of
from planners.neighborhood import divergence
from planners.optimization import Adam, Mean, Optimizers, at_least_one, not_below_zero, shuffled
from planners.rehearsal import Rehearsal, recalled
from planners.utility import Utility
from planners.value_scale import ValueScale


def normalize(advantage: Tensor) -> Tensor:
    """Zero mean, unit standard deviation over all entries."""
    return (advantage - advantage.mean()) / (advantage.std(unbiased=False) + 1e-8)


class GroundLoss(LossModule):
    """Losses on a minibatch of real segments ``[S, L]``.

    Reads ``in_keys``: those of the world model, and more of what follows if the utility uses one. Returns the scalars
    ``out_keys`` and, with a model, the mean local losses ``local_{transition, reward, termination}``; with
    transitions to rehearse also ``loss_rehearsal``, and with a weight on it ``loss_clone``, the divergence
    ``KL(pi_b || pi)``.
    """

    out_keys = ["loss_objective", "loss_value", "loss_entropy", "loss_auxiliary", "entropy", "clip_fraction"]

    def __init__(
        self,
        agent: Agent,
        utility: Utility,
        neighborhood: Neighborhood,
        value_scale: ValueScale,
        value: float,
        entropy: float,
        rehearsal: float = 0.0,
        clone: float = 0.0,
    ) -> None:
        super().__init__()
        self.agent, self.rehearsal = agent, rehearsal
        self.utility, self.surrogate = utility, neighborhood.surrogate
        follows = ["done", *(["observation", "reward", "terminated"] if utility.uses_model else [])]
        self.in_keys = [
            *agent.world_model.in_keys,
            *("action", "action_log_prob", "advantage", "value_target"),
            *(["logits"] if clone else []),
            *(("next", key) for key in follows),
        ]
        self.lower, self.upper = neighborhood.interval
        self.value_scale, self.value, self.entropy, self.clone = value_scale, value, entropy, clone

    def forward(self, tensordict: TensorDictBase, past: TensorDictBase | None = None) -> TensorDictBase:
        """See the class; ``past`` are transitions ``[M]`` that are rehearsed."""
        latent, losses, rehearsed = self.believe(tensordict, past)
        logits, value = self.agent.heads(latent)
        ratio = (log_prob_of(logits, tensordict["action"]) - tensordict["action_log_prob"]).exp()
        weighed = self.utility(normalize(tensordict["advantage"].squeeze(-1)), losses)
        lower, upper = self.borders(tensordict)
        objective = self.surrogate(ratio, weighed.utility, lower, upper)
        error = value - tensordict["value_target"].squeeze(-1)
        spread = entropy(logits).mean()
        assert objective.shape == value.shape == weighed.auxiliary.shape == tensordict.shape
        out = {
            "loss_objective": -objective.mean(),
            "loss_value": self.value / self.value_scale.square * error.square().mean(),
            "loss_entropy": -self.entropy * spread,
            "loss_auxiliary": weighed.auxiliary.mean() + self.represent(latent, tensordict),
            "entropy": spread.detach(),
            "clip_fraction": ((ratio < lower) | (ratio > upper)).float().mean(),
        }
        if self.clone:
            out["loss_clone"] = self.clone * divergence(tensordict["logits"], logits)
        if rehearsed is not None:
            out["loss_rehearsal"] = self.rehearsal * self.utility.penalty(rehearsed).mean()
        if losses is not None:
            out |= {f"local_{key}": loss.detach().mean() for key, loss in losses.items()}
        return TensorDict(out)

    def borders(self, tensordict: TensorDictBase) -> tuple[Tensor | float, Tensor | float]:
        """Where the ratio to the policy that acted is clipped; numbers, or of each step ``[S, L]``."""
        return self.lower, self.upper

    def believe(
        self, tensordict: TensorDictBase, past: TensorDictBase | None = None
    ) -> tuple[Tensor, TensorDictBase | None, TensorDictBase | None]:
        """Latents ``[S, L, *]`` of the segments and, where the utility asks for them, the local losses ``[S, L]``, and
        those ``[M]`` of what is rehearsed."""
        model = self.agent.world_model
        if not self.utility.uses_model:
            return model.latents(tensordict), None, None
        latent, next_latent = model.believe(tensordict)
        fresh = facts(model, latent, next_latent, tensordict)
        if past is None:
            losses, rehearsed = model.local_losses(*fresh), None
        else:  # one call for both: half of what a small batch costs is the calls
            both = zip(fresh, recalled(model, past), strict=True)
            losses = model.local_losses(*(torch.cat((now.flatten(0, 1), then)) for now, then in both))
            losses, rehearsed = losses.split([tensordict.numel(), len(past)])
            losses = losses.reshape(tensordict.shape)
        assert losses.shape == tensordict.shape, f"local losses {losses.shape} are not per transition"
        return latent, losses, rehearsed

    def represent(self, latent: Tensor, tensordict: TensorDictBase) -> Tensor:
        """The model's mean representation loss; zero where no model is learnt."""
        if not self.utility.uses_model:
            return latent.new_zeros(())
        return self.agent.world_model.representation_loss(latent, tensordict["observation"]).mean()


class Ground:
    """Epochs of minibatch updates on one batch of real experience.

    Args:
        agent: what is trained.
        batch_shape: environments and steps per batch, ``(N, T)``.
        neighborhood: what the policy's whole step is held in.
        value_scale: unit of the critic's errors.
        gamma, lmbda: discount and lambda, for a phase that estimates advantages of its own (``planners/replay.py``).
        utility: what is maximized.
        optimizers: settings by name; roles that none of them names stay frozen.
        epochs: passes over the batch.
        minibatches: updates per pass.
        segment: steps per segment, the unit that minibatches are drawn from; divides T.
        value: weight of the squared error of the critic.
        entropy: weight of the entropy bonus.
        clone: weight of the divergence from the behavior policy, so that an encoder that moves for the critic's or the
            model's sake moves the policy less (phasic policy gradient, Cobbe et al. 2021).
        share: share of the way to the neighborhood's border that this phase may use, where a guard enforces it: a
            dream that follows needs the rest.
        rehearsal: past transitions that the model goes on learning from; ``None`` for none.
    """

    loss_class: type[GroundLoss] = GroundLoss

    def __init__(
        self,
        agent: Agent,
        batch_shape: tuple[int, int],
        neighborhood: Neighborhood,
        value_scale: ValueScale,
        gamma: float,
        lmbda: float,
        utility: Utility,
        optimizers: Mapping[str, Adam | None],
        epochs: int,
        minibatches: int,
        segment: int,
        value: float,
        entropy: float,
        clone: float,
        share: float,
        rehearsal: Rehearsal | None,
    ) -> None:
        envs, steps = batch_shape
        if not 0.0 < share <= 1.0:
            raise ValueError(f"planner.ground.share={share}: a share above 0 and at most 1")
        not_below_zero("ground", value=value, entropy=entropy, clone=clone)
        at_least_one("ground", epochs=epochs, minibatches=minibatches, segment=segment)
        if steps % segment:
            raise ValueError(f"planner.ground.segment={segment} does not divide num_steps={steps}")
        if (envs * steps // segment) % minibatches:
            raise ValueError(
                f"planner.ground.minibatches={minibatches} does not divide the {envs * steps // segment} segments "
                f"of a batch (num_envs={envs} x num_steps={steps} / planner.ground.segment={segment})"
            )
        self.agent, self.neighborhood, self.gamma, self.lmbda = agent, neighborhood, gamma, lmbda
        self.epochs, self.minibatches, self.segment = epochs, minibatches, segment
        if rehearsal is not None and not utility.uses_model:
            raise ValueError("planner.ground.rehearsal: without a model that learns it must be null")
        if rehearsal is not None and type(utility).penalty is Utility.penalty:
            raise ValueError(
                f"planner.ground.rehearsal: {type(utility).__name__} has no method penalty, which weighs what is "
                "rehearsed; write one, or set it to null"
            )
        weight = 0.0 if rehearsal is None else rehearsal.weight
        self.loss = self.loss_class(agent, utility, neighborhood, value_scale, value, entropy, weight, clone)
        self.optimizers = Optimizers(agent, optimizers, "ground")
        if utility.uses_model != ("model" in self.optimizers.roles):
            needs = "none may have" if not utility.uses_model else "one must have"
            raise ValueError(
                f"planner.ground.optimizers: with the utility {type(utility).__name__} {needs} the role model, as its "
                f"world model {'learns' if utility.uses_model else 'does not learn'}"
            )
        self.utility, self.rehearsal, self.share = utility, rehearsal, share

    def run(self, batch: TensorDictBase, progress: float) -> dict[str, float]:
        """Updates the agent on ``batch`` ``[N, T]`` with advantages; returns means under ``ground/``."""
        pieces, told = self.pieces(batch)
        policy = partial(self.agent.log_policy, batch)
        watch = self.neighborhood.watch(policy, batch["logits"].flatten(0, 1), self.optimizers, self.share)
        self.optimizers.set_progress(progress)
        mean = Mean()
        if self.rehearsal is not None:
            self.rehearsal.add(batch)
        with self.optimizers.training():
            for indices in shuffled(len(pieces), self.minibatches, self.epochs):
                past = None if self.rehearsal is None else self.rehearsal.sample()
                losses = self.loss(take(pieces, indices), past)
                self.optimizers.step(losses)
                mean.add(losses)
                if not watch.step():
                    break
        self.optimizers.check()
        told |= watch.close()
        return mean.result("ground") | {f"ground/{key}": float(value) for key, value in told.items()}

    def pieces(self, batch: TensorDictBase) -> tuple[TensorDictBase, dict[str, Any]]:
        """Segments ``[K, L]`` that the minibatches of a batch ``[N, T]`` are drawn from, and what to tell of them."""
        return segments(batch.select(*self.loss.in_keys), self.segment), {}

    def state_dict(self) -> dict[str, Any]:
        """What the phase needs to go on, by name."""
        state: dict[str, Any] = {"ground": self.optimizers.state_dict()}
        if self.rehearsal is not None:
            state["rehearsal"] = self.rehearsal.reservoir.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict``; what else there is in ``state`` is not read."""
        self.optimizers.load_state_dict(state["ground"])
        if self.rehearsal is not None:
            self.rehearsal.reservoir.load_state_dict(state["rehearsal"])
