"""What real experience teaches the critic while the policy learns in the dream.

A critic that learns in the dream alone believes whatever the model believes. Here it also learns the real
lambda-returns, as DreamerV3's critic does on replayed states (Hafner et al. 2023); and not only on the latents of real
states, but also on what the model expected to come there, so that its values mean the same on both sides of a dreamt
step: an error of the model that the critic could mistake for an advantage is averaged out by what really followed.
"""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.objectives import LossModule

from planners.heads import Heads
from planners.value_scale import ValueScale


def real_returns(latent: Tensor, expected: Tensor, batch: TensorDictBase, gamma: float) -> TensorDict:
    """Latents with the real lambda-returns that followed: those of a batch's states, and those that the model expects
    after each step.

    Args:
        latent: of the batch's states, ``[M, *latent_shape]``.
        expected: what the model expects after the actions that were done there, likewise.
        batch: experience ``[N, T]`` with ``value_target``, ``N * T = M``.
        gamma: discount.

    Returns:
        A TensorDict ``[2 M]``: ``latent``, ``real_return``, and ``counts``, 0 where nothing is known to follow: where
        an episode terminated, or where ``gamma`` is 0.
    """
    steps = batch.select("value_target", ("next", "reward"), ("next", "terminated")).flatten(0, 1)
    target, after = steps["value_target"].squeeze(-1), steps["next"]
    going_on = (~after["terminated"]).float().squeeze(-1) * (gamma > 0.0)
    # The lambda-return of a step is its reward and the discounted one of what follows.
    following = (target - after["reward"].squeeze(-1)) / (gamma or 1.0)
    here = TensorDict({"latent": latent, "real_return": target, "counts": torch.ones_like(target)}, len(target))
    there = TensorDict({"latent": expected, "real_return": following, "counts": going_on}, len(target))
    return torch.cat([here, there])


class RealValueLoss(LossModule):
    """The critic's squared error to real returns ``[M]``. Reads ``in_keys``, returns the scalar ``out_keys``.

    Args:
        heads: actor and critic.
        value_scale: unit of the critic's errors.
        weight: of the loss.
    """

    in_keys = ["latent", "real_return", "counts"]
    out_keys = ["loss_real_value"]

    def __init__(self, heads: Heads, value_scale: ValueScale, weight: float) -> None:
        super().__init__()
        self.heads, self.value_scale, self.weight = heads, value_scale, weight

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """See the class."""
        counts = tensordict["counts"]
        error = (self.heads(tensordict["latent"]).value - tensordict["real_return"]).square()
        mean = (counts * error).sum() / counts.sum().clamp_min(1.0)
        return TensorDict({"loss_real_value": self.weight / self.value_scale.square * mean})
