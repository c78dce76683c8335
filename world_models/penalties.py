"""Gradient penalties: networks whose slope in ``z`` is asked to be small, in place of layers that guarantee it.

A penalty bounds nothing: it is about the latents of the batch, and only as small as training makes it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Penalty:
    """Called as ``penalty(function, latent)``; returns ``[...]``, with gradient into the function's parameters alone.

    A function with a vector output is projected on one random unit vector u for each transition: the gradient of
    ``u . f`` has the expected squared norm ``||J||_F^2 / m``, J the Jacobian and m the number of outputs: the mean
    over outputs of their squared gradients, whatever the size of the latent.

    Args:
        weight: lambda, in units of the loss that it is added to; with 0 nothing is computed.
    """

    def __init__(self, weight: float) -> None:
        if weight < 0:
            raise ValueError(f"world_model.penalty.weight={weight}: must be at least 0; 0 is no penalty.")
        self.weight = weight

    def of_norm(self, squared_norm: Tensor) -> Tensor:
        """Penalty ``[...]`` from the squared norm of the gradient, ``[...]``."""
        raise NotImplementedError

    @torch.compiler.disable  # it can't differentiate a gradient
    def __call__(self, function: Callable[[Tensor], Tensor], latent: Tensor, latent_dims: int) -> Tensor:
        """Penalty of each transition.

        Args:
            function: from latents ``[..., *latent_shape]`` to values ``[...]`` or ``[..., *event]``, each row from its
                own latent alone.
            latent: ``[..., *latent_shape]``.
            latent_dims: number of axes of one latent.
        """
        batch = latent.shape[: latent.ndim - latent_dims]
        if self.weight == 0.0:
            return latent.new_zeros(batch)
        latent = latent.detach().requires_grad_()
        output = function(latent).reshape(*batch, -1)
        direction = torch.randn_like(output)
        direction = direction / direction.norm(dim=-1, keepdim=True)
        (gradient,) = torch.autograd.grad((direction * output).sum(), latent, create_graph=True)
        return self.weight * self.of_norm(gradient.reshape(*batch, -1).square().sum(-1))


class GradientPenalty(Penalty):
    """``lambda ||grad_z f||^2`` (DeepMDP, Gelada et al. 2019): the flatter, the better."""

    def of_norm(self, squared_norm: Tensor) -> Tensor:
        """See ``Penalty``."""
        return squared_norm


class UnitGradientPenalty(Penalty):
    """``lambda (||grad_z f|| - 1)^2`` (WGAN-GP, Gulrajani et al. 2017): slopes are asked to be 1."""

    def of_norm(self, squared_norm: Tensor) -> Tensor:
        """See ``Penalty``."""
        # The small constant keeps the gradient of the root finite where f is flat, as reward heads begin.
        return ((squared_norm + 1e-12).sqrt() - 1).square()
