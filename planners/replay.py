"""The ground phase on replayed sequences beside the fresh batch: what earlier policies did is learnt from again.

The replay variant of Deep SPI (arXiv 2510.12312). A sequence that an earlier policy ``pi_hist`` gathered says something
of the present policy ``pi_old`` once it is corrected: V-trace (Espeholt et al. 2018) truncates how much an unlikely
past may count in returns and advantages, and the clip's interval is shifted to where ``pi_old`` is, so that the step
away from ``pi_old`` is bounded on old experience as on fresh. What the neighborhood is measured, enforced and certified
on is the fresh batch, as ever.

Other than in the authors' code, sequences are rows of batches (theirs are longer, and cross from batch to batch), the
fresh batch is learnt from as well, and updates are counted as in every ground phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives.value.functional import generalized_advantage_estimate

from planners.agent import Agent
from planners.buffers import Newest
from planners.experience import following_values, segments
from planners.ground import Ground, GroundLoss
from planners.heads import log_prob_of
from planners.optimization import at_least_one

#: A policy of the past counts as no farther from the present one than this, as the logarithm of their ratio.
LOG_RATIO = 3.0


@torch.no_grad()
def corrected(agent: Agent, sequences: TensorDictBase, gamma: float, lmbda: float, segment: int) -> TensorDict:
    """Sequences ``[N, T]`` of earlier policies as experience for the present one, ``pi_old``.

    V-trace with both thresholds 1 and ``c = lmbda min(1, pi_old / pi_hist)``, and the advantage
    ``r + gamma (lmbda v(s') + (1 - lmbda) V(s')) - V(s)``, ``v`` the corrected value. V-trace's own has the truncated
    ratio before it; here the objective's ratio takes its place, which ``LOG_RATIO`` alone bounds. Of what ``pi_old``
    has gathered itself it is GAE(lambda).

    Args:
        agent: its policy and critic, as they are.
        sequences: with ``action``, ``action_log_prob`` under the policy that acted, what the world model's encoder
            takes, and ``next``. A recurrent model's memories are those of the network of then.
        gamma: discount.
        lmbda: lambda of the advantages.
        segment: steps of the segments that will be learnt from: a recurrent model begins anew in each of them.

    Returns:
        A new TensorDict ``[N, T]`` with ``advantage`` and ``value_target`` (each ``[N, T, 1]``), ``logits``
        ``[N, T, A]`` of ``pi_old``, ``reference_log_prob`` ``[N, T]``, that of the action under ``pi_old``, and an
        ``action_log_prob`` no farther than ``LOG_RATIO`` from it.
    """
    logits, value = agent.heads(agent.world_model.latents(segments(sequences, segment)))
    logits, value = logits.reshape(*sequences.shape, -1), value.reshape(*sequences.shape, 1)
    present, after = log_prob_of(logits, sequences["action"]), sequences["next"]
    log_ratio = (present - sequences["action_log_prob"]).clamp(-LOG_RATIO, LOG_RATIO)
    weight = log_ratio.exp().clamp_max(1.0).unsqueeze(-1)
    advantage, _ = generalized_advantage_estimate(
        gamma,
        lmbda * weight.roll(-1, 1),  # a tensor does as well: how much of the next step's advantage counts
        value,
        following_values(value, after, agent.value),
        after["reward"],
        after["done"],
        after["terminated"],
    )
    found = {
        "advantage": advantage,
        "value_target": value + weight * advantage,
        "logits": logits,
        "reference_log_prob": present,
        "action_log_prob": present - log_ratio,
    }
    return TensorDict(sequences.copy(), sequences.shape).update(found)


class ReplayLoss(GroundLoss):
    """``GroundLoss`` on experience of earlier policies: ``ratio = pi / pi_hist`` is clipped to
    ``[2 - C, C] * pi_old / pi_hist``. Reads ``reference_log_prob`` too, see ``corrected``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.in_keys = [*self.in_keys, "reference_log_prob"]

    def borders(self, tensordict: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Of each step, ``[S, L]``."""
        shift = (tensordict["reference_log_prob"] - tensordict["action_log_prob"]).exp()
        return self.lower * shift, self.upper * shift


class ReplayGround(Ground):
    """Learns from a batch and from replayed sequences beside it, in minibatches of both.

    Args:
        batch_shape: environments and steps per batch, ``(N, T)``.
        capacity: environment steps kept, the newest, in whole batches; the fresh one is among them.
        replays: batches of N sequences that are drawn beside each fresh batch.
        settings: those of ``Ground``.
    """

    loss_class = ReplayLoss

    def __init__(self, batch_shape: tuple[int, int], capacity: int, replays: int, **settings: Any) -> None:
        super().__init__(batch_shape=batch_shape, **settings)
        at_least_one("ground", replays=replays)
        envs, steps = batch_shape
        if capacity < envs * steps:
            raise ValueError(
                f"planner.ground.capacity={capacity}: at least one batch of num_envs * num_steps = {envs * steps} steps"
            )
        self.buffer, self.drawn = Newest(capacity // (envs * steps) * envs), replays * envs
        inputs = self.agent.world_model.in_keys
        after = [*inputs, "reward", "done", "terminated"]
        self.kept = [*inputs, "action", "action_log_prob", *(("next", key) for key in after)]

    def pieces(self, batch: TensorDictBase) -> tuple[TensorDictBase, dict[str, Any]]:
        """Segments ``[K, L]`` of the batch ``[N, T]`` and of what is replayed beside it. Tells ``replay_ratio``, the
        mean truncated ratio of the present policy to those that gathered what is replayed: 1 where they are the same.
        """
        self.buffer.extend(batch.select(*self.kept).auto_batch_size_(1))
        past = self.buffer.sample(self.drawn).auto_batch_size_(2)
        past = corrected(self.agent, past, self.gamma, self.lmbda, self.segment)
        ratio = (past["reference_log_prob"] - past["action_log_prob"]).exp().clamp_max(1.0).mean()
        fresh = TensorDict(batch.copy(), batch.shape).update({"reference_log_prob": batch["action_log_prob"]})
        both = torch.cat([rows.select(*self.loss.in_keys) for rows in (fresh, past)])
        return segments(both, self.segment), {"replay_ratio": ratio}

    def state_dict(self) -> dict[str, Any]:
        """See ``Ground``; the replay buffer too."""
        return super().state_dict() | {"replay": self.buffer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict``."""
        super().load_state_dict(state)
        self.buffer.load_state_dict(state["replay"])
