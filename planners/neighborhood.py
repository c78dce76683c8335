"""The importance-ratio neighborhood ``N^C``: its soft forms in an objective, and its exact measurement.

What enforces it, beyond the soft forms, stands in ``planners/guards.py``.

``N^C(pi) = { pi' : 2 - C <= D_inf(pi, pi') <= D_sup(pi, pi') <= C }`` with ``1 < C < 2`` (Deep SPI, arXiv
2510.12312, section 3), where ``D_inf`` and ``D_sup`` are the smallest and the largest ratio ``pi'(a|s)/pi(a|s)``
over the states that ``pi`` visits and the actions that it can take.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

#: Log-probabilities below this are actions that a policy cannot take (single precision).
_IMPOSSIBLE = -80.0


class Surrogate(Protocol):
    """A per-sample objective, to be maximized, that discourages leaving an interval of ratios."""

    def __call__(self, ratio: Tensor, utility: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
        """All arguments broadcast to the batch shape, which is also that of the result."""
        ...


def _clamp(ratio: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
    return ratio.clamp(lower, upper)  # type: ignore[arg-type]  # both numbers, or both tensors


class Clip:
    """PPO's clipped objective, ``min(ratio U, clip(ratio) U)`` (Schulman et al. 2017, eq. 7; Deep SPI, eq. of
    DeepSPI with the utility ``U`` in the place of the advantage)."""

    def __call__(self, ratio: Tensor, utility: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
        clipped = _clamp(ratio, lower, upper)
        return torch.minimum(ratio * utility, clipped * utility)


def check_kappa(kappa: float) -> None:
    """Raises ``ValueError`` unless a drift may have this weight."""
    if kappa < 0:
        raise ValueError(f"planner.kappa={kappa}: a drift's weight is at least 0")


class Drift:
    """The mirror-learning penalty, ``ratio U - kappa relu((ratio - clip(ratio)) U)`` (Kuba et al. 2022).

    Args:
        kappa: weight of the drift, at least 0; 1 gives the clipped objective back.
    """

    def __init__(self, kappa: float = 1.0) -> None:
        check_kappa(kappa)
        self.kappa = kappa

    def __call__(self, ratio: Tensor, utility: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
        clipped = _clamp(ratio, lower, upper)
        return ratio * utility - self.kappa * torch.relu((ratio - clipped) * utility)


def interval(C: float) -> tuple[float, float]:  # noqa: N803 - the paper's symbol
    """``[2 - C, C]``. Raises ``ValueError`` unless ``1 < C < 2``."""
    if not 1.0 < C < 2.0:
        raise ValueError(f"planner.C={C}: the neighborhood constant lies strictly between 1 and 2 (1.1 is usual)")
    return 2.0 - C, C


class RatioRange(NamedTuple):
    """How far a policy went from another on a batch of states, exactly, over all actions."""

    d_inf: float
    d_sup: float
    outside: float  # fraction of (state, action) pairs with a ratio outside [2 - C, C]
    kl: float  # mean over states of KL(pi || pi'), in nats


def divergence(behavior: Tensor, policy: Tensor) -> Tensor:
    """``KL(behavior || policy)`` in nats of log-probabilities ``[..., A]``, a scalar: its mean over all states."""
    gained = torch.where(behavior > _IMPOSSIBLE, behavior - policy, torch.zeros_like(policy))
    return (behavior.exp() * gained).sum(-1).mean()


@torch.no_grad()
def measure(behavior: Tensor, policy: Tensor, C: float) -> RatioRange:  # noqa: N803
    """Exact ``D_inf``, ``D_sup`` between two policies on a batch of states.

    Only an action that neither policy can take does not count: one that ``behavior`` cannot and ``policy`` can take
    has an infinite ratio, or one beyond all measure.

    Args:
        behavior: log-probabilities ``[..., A]`` of the policy that is departed from.
        policy: log-probabilities ``[..., A]`` of the policy that is measured, on the same states.
        C: the neighborhood constant.
    """
    lower, upper = interval(C)
    possible = torch.maximum(behavior, policy) > _IMPOSSIBLE
    ratio = torch.where(possible, (policy - behavior).exp(), torch.ones_like(policy))
    outside = ((ratio < lower) | (ratio > upper)).float().mean()
    found = torch.stack((ratio.min(), ratio.max(), outside, divergence(behavior, policy)))
    return RatioRange(*found.tolist())


def excess(behavior: Tensor, policy: Tensor, C: float) -> float:  # noqa: N803
    """How far out the farthest ratio is: 0 where the policies agree, 1 on the border, above 1 outside ``N^C``.

    Args:
        behavior: log-probabilities ``[..., A]`` of the policy that is departed from.
        policy: log-probabilities ``[..., A]`` of the policy that is measured, on the same states.
        C: the neighborhood constant.
    """
    found = measure(behavior, policy, C)
    lower, upper = interval(C)
    return max((found.d_sup - 1.0) / (upper - 1.0), (1.0 - found.d_inf) / (1.0 - lower))
