"""Observations to try a model on."""

from __future__ import annotations

import torch
from torch import Tensor
from torchrl.data import Binary, Bounded, Categorical, TensorSpec, Unbounded

#: Distinct observations that are drawn from, where they are not floats: worlds repeat themselves, tables end.
DISTINCT = 12
#: Beyond this a bound is no range to draw from (Gymnasium writes 3.4e38 for none).
WIDE = 1e6
#: Large pictures are of squares of this many pixels: of noise in each pixel a fresh CNN sees only the mean.
SQUARE = 12
#: The kinds that a model is tried on where no environment is named, small ones first. It may refuse some, not all.
KINDS: dict[str, TensorSpec] = {
    "flat": Unbounded((4,)),
    "number": Categorical(DISTINCT, shape=()),
    "minatar": Binary(shape=(4, 10, 10), dtype=torch.uint8),
    "image": Bounded(0, 255, (1, 84, 84), dtype=torch.uint8),
}


def draw(spec: TensorSpec, *batch: int) -> Tensor:
    """Random observations ``[*batch, *shape]``; those that are no floats come from ``DISTINCT`` of them."""
    if not spec.dtype.is_floating_point:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pool = spec.expand(DISTINCT, *spec.shape).rand()
        if isinstance(spec, Bounded):
            pool = _coarse(pool)
        return pool[torch.randint(DISTINCT, batch)]
    whole = spec.expand(*batch, *spec.shape)
    if isinstance(spec, Bounded) and float(torch.maximum(spec.low.abs(), spec.high.abs()).max()) > WIDE:
        return whole.project(torch.randn(whole.shape, dtype=spec.dtype))
    return whole.rand()


def _coarse(pictures: Tensor) -> Tensor:
    """Pictures ``[N, C, H, W]`` of at least three squares by three, each square of one colour; all else as it is."""
    if pictures.ndim < 4 or min(pictures.shape[-2:]) < 3 * SQUARE:
        return pictures
    rows, columns = (torch.arange(size) // SQUARE * SQUARE for size in pictures.shape[-2:])
    return pictures[..., rows[:, None], columns]
