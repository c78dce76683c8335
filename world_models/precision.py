"""Arithmetic of the large layers: single precision, or bfloat16 within and single precision at the door.

A bfloat16 has 8 bits, a step of 0.4%. That is too coarse for log-probabilities, whose ratios are held within ten
percent, and for Lipschitz constants, which are claims. So only convolutional encoders, the trunks of plain transition,
reward and termination networks, and the dense layer of actor and critic compute in it. What they return, features and
the latents of pictures among it, carries 8 bits as well: two states that are nearer to one another than that are one.
Parameters, their updates, losses, output layers, encoders of vectors, everything 1-Lipschitz, recurrences and token
networks stay in single precision, and certificates are made in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from world_models.names import no_such

#: What ``precision`` may be.
PRECISIONS = ("fp32", "bf16")


class Mixed(nn.Module):
    """A module whose layers may compute in bfloat16; the setting travels with it, to workers and into copies."""

    bf16 = False
    #: Set where bfloat16 would break a promise, or where the layers are too small to gain by it.
    exact = False

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the layers compute in."""
        return torch.bfloat16 if self.bf16 and not self.exact else torch.float32

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the layers are called; what comes out of it may be bfloat16."""
        dtype = self.compute_dtype
        return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def widened(features: Tensor) -> Tensor:
    """What comes out of ``Mixed.arithmetic``: bfloat16 becomes single precision, everything else stays as it is."""
    return features.float() if features.dtype == torch.bfloat16 else features


def set_precision(module: nn.Module, precision: str) -> None:
    """Lets every ``Mixed`` part of a module compute in ``fp32`` or ``bf16``. Raises ``ValueError`` for another name."""
    if precision not in PRECISIONS:
        raise no_such("precision", "precision", precision, PRECISIONS)
    for part in _mixed(module):
        part.bf16 = precision == "bf16"


@contextmanager
def single_precision(*modules: nn.Module) -> Iterator[None]:
    """Within, modules compute in single precision, whatever they are set to."""
    rounding = [part for module in modules for part in _mixed(module) if part.bf16]
    for part in rounding:
        part.bf16 = False
    try:
        yield
    finally:
        for part in rounding:
            part.bf16 = True


def _mixed(module: nn.Module) -> Iterator[Mixed]:
    return (part for part in module.modules() if isinstance(part, Mixed))
