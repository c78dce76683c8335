"""What the transition is trained towards: three choices of the target for ``phi(s')``, one interface.

Each is built with the encoder, returns the target from ``forward`` and follows the encoder in
``after_update``.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Target(nn.Module):
    """What the three choices have in common."""

    #: Whether the target passes a gradient to ``phi(s')``.
    has_gradient = False

    def forward(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """The target ``[..., *latent_shape]`` for ``phi(s')`` and ``s'``."""
        raise NotImplementedError

    def after_update(self, encoder: nn.Module) -> None:
        """Called after every optimizer step; by default there is nothing to follow."""


class Gradient(Target):
    """``phi(s')`` with its gradient: the paper's choice, where both ends of a transition move.

    Args:
        encoder: the encoder (not needed here).
        share: share of the gradient that passes, in [0, 1]. 1 is the paper's. On one-hot latents 0.1 is
            enough to merge every state, while 0 leaves codes that never settle: 0.03 does neither.
    """

    def __init__(self, encoder: nn.Module, share: float = 1.0) -> None:
        super().__init__()
        del encoder
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"world_model.target.share={share}: must lie in [0, 1], e.g. 1.")
        self.share = share
        self.has_gradient = share > 0.0

    def forward(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """The target ``[..., *latent_shape]``."""
        del next_observation
        if self.share == 1.0:
            return next_latent
        constant = next_latent.detach()
        return constant + self.share * (next_latent - constant)


class StopGradient(Target):
    """``phi(s')`` as a constant: a state is not moved to please its predecessors."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        del encoder

    def forward(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """The target ``[..., *latent_shape]``."""
        del next_observation
        return next_latent.detach()


class Slow(Target):
    """A slowly following copy of the encoder: ``slow <- slow + tau (encoder - slow)`` after each update.

    Args:
        encoder: the encoder to follow. The copy is saved with the model, never trained by gradient.
        tau: share of the way covered at each update, in (0, 1].
    """

    def __init__(self, encoder: nn.Module, tau: float = 0.02) -> None:
        super().__init__()
        if not 0.0 < tau <= 1.0:
            raise ValueError(f"world_model.target.tau={tau}: must lie in (0, 1], e.g. 0.02.")
        self.tau = tau
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    @torch.no_grad()
    def forward(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """The target ``[..., *latent_shape]``, encoded anew by the slow copy."""
        del next_latent
        return self.encoder(next_observation)

    @torch.no_grad()
    def after_update(self, encoder: nn.Module) -> None:
        """Moves the copy ``tau`` of the way towards ``encoder``."""
        for slow, fast in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            slow.lerp_(fast, self.tau)
