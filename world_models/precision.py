"""Arithmetic of the large layers: single precision, or bfloat16 within and single precision at the door.

A bfloat16 has 8 bits, a step of 0.4%. That is too coarse for log-probabilities, whose ratios are held within ten
percent, for latents that are taken from one another, and for Lipschitz constants, which are claims. So only encoders,
trunks and the heads' dense layer compute in it, and round what they return once; parameters, their updates, losses,
output layers and everything 1-Lipschitz stay in single precision.
"""

from __future__ import annotations

import difflib
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

#: What ``precision`` may be.
PRECISIONS = ("fp32", "bf16")


class Mixed(nn.Module):
    """A module whose layers may compute in bfloat16; the setting travels with it, to workers and into copies."""

    bf16 = False

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the layers are called; what comes out of it may be bfloat16."""
        # The cache of rounded weights would outlive an optimizer's step.
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if self.bf16 else nullcontext()


def set_precision(module: nn.Module, precision: str) -> None:
    """Lets every ``Mixed`` part of a module compute in ``fp32`` or ``bf16``. Raises ``ValueError`` for another name."""
    if precision not in PRECISIONS:
        near = difflib.get_close_matches(precision, PRECISIONS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"precision={precision}: no such precision.{hint} Allowed: {', '.join(PRECISIONS)}.")
    for part in module.modules():
        if isinstance(part, Mixed):
            part.bf16 = precision == "bf16"
