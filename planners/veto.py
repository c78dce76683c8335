"""Reality's veto: a dream proposes a policy, and the batch's own advantages may speak against it.

A dream is wrong in the same way in every state that is alike, so that small errors add up to a drift that no single
update shows. The actions of the batch that the dream started from had no part in it, and tell whether the step was one
to the better: by importance ratios, which the neighborhood keeps near 1 and so keeps meaningful.
"""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.ground import normalize
from planners.heads import log_prob_of


@torch.no_grad()
def real_gain(batch: TensorDictBase, before: Tensor, after: Tensor) -> float:
    """What real experience says of a step from one policy to another: ``E_B[(pi_after - pi_before) / pi_b * A]``, with
    advantages of mean zero and unit deviation. Below zero the step makes things worse.

    Args:
        batch: experience ``[N, T]`` of ``pi_b`` with ``advantage`` and the log-probability of what was done.
        before: log-probabilities ``[N * T, A]`` of the policy before the step, on the batch's states.
        after: those of the policy after it.
    """
    steps = batch.select("action", "action_log_prob", "advantage").flatten(0, 1)
    was, now = ((log_prob_of(policy, steps["action"]) - steps["action_log_prob"]).exp() for policy in (before, after))
    return float(((now - was) * normalize(steps["advantage"].squeeze(-1))).mean())
