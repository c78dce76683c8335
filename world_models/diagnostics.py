"""What to watch in a world model: is the latent alive, and are the rewards that decide everything learnt?

Pure functions of tensors, cheap enough for every iteration, deterministic: at most 512 rows (evenly
spaced) and, for wide latents, a fixed random projection to 256 dimensions. They return scalar tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from world_models.spread import relative_variance

MAX_ROWS = 512
MAX_DIMENSIONS = 256


def _rows(latents: Tensor) -> Tensor:
    """At most ``MAX_ROWS`` evenly spaced rows of ``[N, ...]``, flattened to ``[n, D]``, without gradient."""
    count = len(latents)
    if count > MAX_ROWS:
        latents = latents[torch.linspace(0, count - 1, MAX_ROWS, device=latents.device).long()]
    return latents.detach().flatten(1).float()


def _project(rows: Tensor) -> Tensor:
    """Fixed random projection of ``[n, D]`` to at most ``MAX_DIMENSIONS``; keeps distances on average."""
    dimensions = rows.shape[1]
    if dimensions <= MAX_DIMENSIONS:
        return rows
    generator = torch.Generator().manual_seed(dimensions)
    directions = torch.randn(dimensions, MAX_DIMENSIONS, generator=generator) / MAX_DIMENSIONS**0.5
    return rows @ directions.to(rows.device)


def effective_rank(latents: Tensor) -> Tensor:
    """Effective number of directions in which latents ``[N, *latent_shape]`` vary, from 0 (all equal) up.

    The exponential of the entropy of the normalized singular values of the centered latents (Roy &
    Vetterli 2007). Wide latents are projected to 256 dimensions first, so the value is at most 256.
    """
    rows = _project(_rows(latents))
    centered = rows - rows.mean(0)
    singular = torch.linalg.svdvals(centered)
    # Rounding of equal rows leaves a spread of about 1e-7 of their size: that is no rank.
    singular = torch.where(singular > 1e-5 * torch.linalg.matrix_norm(rows), singular, 0.0)
    total = singular.sum()
    share = singular / total.clamp_min(torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, torch.special.entr(share).sum().exp(), 0.0)


def latent_spread(latents: Tensor) -> Tensor:
    """How far latents ``[N, *latent_shape]`` lie apart for their size, in [0, 1]: the root of the share of their mean
    squared length that is variance. 0 where all are equal.

    What a rank can't tell: it has no scale, and of latents that are all but equal it ranks what is left.
    """
    return relative_variance(_rows(latents)).mean().sqrt()


def dead_units(latents: Tensor) -> Tensor:
    """Share of latent units, in [0, 1], that are constant over a batch ``[N, *latent_shape]``."""
    rows = latents.detach().flatten(1)
    return (rows == rows[:1]).all(0).float().mean()


def reward_error_on_largest(predicted: Tensor, reward: Tensor, share: float = 0.01) -> Tensor:
    """Mean ``|r - R̄|`` over the ``share`` of transitions (at least one) with the largest ``|r|``.

    Args:
        predicted, reward: same shape, in the units of the environment.
    """
    reward, predicted = reward.detach().flatten(), predicted.detach().flatten()
    largest = reward.abs().topk(max(1, round(share * reward.numel()))).indices
    return (reward - predicted)[largest].abs().mean()
