"""The ground phase on sequences from a replay buffer: real experience of earlier policies is learnt from again.

The replay variant of Deep SPI (arXiv 2510.12312). A sequence that an earlier policy ``pi_hist`` gathered says something
of the present policy ``pi_old`` once it is corrected: V-trace (Espeholt et al. 2018) truncates how much an unlikely
past may count in returns and advantages, and the clip's interval is shifted to where ``pi_old`` is, so that the step
away from ``pi_old`` is bounded on old experience as on fresh. What the neighborhood is measured, enforced and certified
on is the fresh batch, as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.objectives.value.functional import vtrace_advantage_estimate

from planners.agent import Agent
from planners.experience import following_values, segments
from planners.ground import Ground, GroundLoss
from planners.heads import log_prob_of

#: The log-ratio of the present policy to one that gathered experience counts no farther than this from 0.
LOG_RATIO = 3.0


@torch.no_grad()
def corrected(agent: Agent, sequences: TensorDictBase, gamma: float) -> TensorDict:
    """Sequences ``[N, T]`` of earlier policies as experience for the present one, ``pi_old``.

    V-trace's own advantage is already multiplied by the truncated ratio. Here the objective's ratio does that, so that
    it is left out: ``A = r + gamma v(s') - V(s)``, with ``v`` the corrected value. It has no lambda.

    Args:
        agent: its policy and critic, as they are.
        sequences: with ``action``, ``action_log_prob`` under the policy that acted, what the world model's encoder
            takes, and ``next``.
        gamma: discount.

    Returns:
        A new TensorDict ``[N, T]`` with ``advantage`` and ``value_target`` (each ``[N, T, 1]``), ``logits``
        ``[N, T, A]`` of ``pi_old``, and ``reference_log_prob`` ``[N, T]``, that of the action under ``pi_old``, no
        farther than ``LOG_RATIO`` from ``action_log_prob``.
    """
    logits, value = agent.heads(agent.world_model.latents(sequences))
    acted, after, value = sequences["action_log_prob"], sequences["next"], value.unsqueeze(-1)
    log_ratio = (log_prob_of(logits, sequences["action"]) - acted).clamp(-LOG_RATIO, LOG_RATIO).unsqueeze(-1)
    one = value.new_ones(())  # where the values are, as numbers would have to be sent there
    weighed, target = vtrace_advantage_estimate(
        gamma,
        log_ratio,
        torch.zeros_like(log_ratio),
        value,
        following_values(value, after, agent.value),
        after["reward"],
        after["done"],
        after["terminated"],
        rho_thresh=one,
        c_thresh=one,
    )
    found = {
        "advantage": weighed / log_ratio.exp().clamp_max(1.0),
        "value_target": target,
        "reference_log_prob": acted + log_ratio.squeeze(-1),
        "logits": logits,
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
    """Learns from as many sequences as a batch has, drawn anew in each iteration from the newest ``capacity`` steps,
    the fresh ones among them.

    Args:
        gamma: discount.
        capacity: environment steps kept, whole batches of N sequences of T steps each.
        settings: those of ``Ground``.
    """

    loss_class = ReplayLoss

    def __init__(self, batch_shape: tuple[int, int], gamma: float, capacity: int, **settings: Any) -> None:
        super().__init__(batch_shape=batch_shape, **settings)
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"planner.ground.gamma={gamma}: from 0 to 1")
        envs, steps = batch_shape
        if capacity < envs * steps:
            raise ValueError(
                f"planner.ground.capacity={capacity}: at least one batch of num_envs * num_steps = {envs * steps} steps"
            )
        self.gamma = gamma
        device = next(self.agent.parameters()).device
        room = LazyTensorStorage(capacity // (envs * steps) * envs, device=device)
        self.buffer = TensorDictReplayBuffer(storage=room, batch_size=envs)
        inputs = self.agent.world_model.in_keys
        self.kept = [*inputs, "action", "action_log_prob", *(("next", key) for key in inputs)]
        self.kept += [("next", key) for key in ("observation", "reward", "done", "terminated")]

    def pieces(self, batch: TensorDictBase) -> TensorDictBase:
        """Segments ``[K, L]`` of replayed sequences; first of all takes note of the batch ``[N, T]``."""
        self.buffer.extend(batch.select(*self.kept))
        self.replayed = corrected(self.agent, self.buffer.sample().exclude("index"), self.gamma)
        return segments(self.replayed.select(*self.loss.in_keys), self.segment)

    def run(self, batch: TensorDictBase, progress: float) -> dict[str, float]:
        """See ``Ground``; also ``ground/replay_ratio``, the mean truncated ratio of the present policy to those that
        had gathered what was replayed: 1 where these are the same."""
        metrics = super().run(batch, progress)
        ratio = (self.replayed["reference_log_prob"] - self.replayed["action_log_prob"]).exp().clamp_max(1.0)
        return metrics | {"ground/replay_ratio": float(ratio.mean())}

    def state_dict(self) -> dict[str, Any]:
        """See ``Ground``; the replay buffer too."""
        return super().state_dict() | {"replay": self.buffer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict``."""
        super().load_state_dict(state)
        self.buffer.load_state_dict(state["replay"])
