"""The generators that all randomness of a process comes from: seeded at once, and kept in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torchrl.checkpoint import GlobalRNGState


def seed_everything(seed: int) -> None:
    """Seeds torch's generators, and Python's and NumPy's, from which some Gymnasium environments draw."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Generators(GlobalRNGState):
    """Their states, as TorchRL keeps them. Those of GPUs that this machine lacks are left out: a run may go on on
    another device, only not bit by bit."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores ``state_dict``."""
        here = torch.cuda.device_count() if torch.cuda.is_available() else 0
        kept = dict(state_dict)
        gpus = kept.pop("torch_cuda", [])[:here]
        super().load_state_dict(kept | ({"torch_cuda": gpus} if gpus else {}))
