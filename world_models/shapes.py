"""Leading batch shapes: any number of them in, the same out."""

from __future__ import annotations

import torch
from torch import Tensor


def fold_batch(tensor: Tensor, event_dims: int) -> tuple[Tensor, torch.Size]:
    """Folds the leading dimensions into one: ``[..., *event]`` to ``[B, *event]`` and the shape ``[...]``."""
    batch = tensor.shape[: tensor.ndim - event_dims]
    return tensor.reshape(-1, *tensor.shape[tensor.ndim - event_dims :]), batch
