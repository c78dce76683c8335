"""Categorical latents: one-hot variables, exact forward, with a gradient backward (``one_hots.py``)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torchrl.data import OneHot, TensorSpec

from world_models.base import LatentModel, Part, event
from world_models.costs import Cost, CrossEntropy
from world_models.encoders import Choice, build_encoder
from world_models.one_hots import Sampling, StraightThrough
from world_models.transition import PlainNetwork


class CategoricalEncoder(nn.Module):
    """An encoder followed by logits; the latent is the arg-max one-hot of each variable.

    ``[..., *observation] -> [..., variables, classes]``, with the gradient that ``sampling`` has.
    """

    def __init__(self, body: nn.Module, features: int, variables: int, classes: int, sampling: Sampling) -> None:
        super().__init__()
        self.sampling = sampling
        self.body = body
        self.features_dims = len(body.latent_shape)  # type: ignore[arg-type]
        self.shape = (variables, classes)
        self.output = nn.Linear(features, variables * classes)

    def forward(self, observation: Tensor) -> Tensor:
        """One-hot latents ``[..., variables, classes]``."""
        features = self.body(observation).flatten(-self.features_dims)
        return self.sampling.mode(self.output(features).unflatten(-1, self.shape))


class CategoricalModel(LatentModel):
    """``z`` is ``variables`` one-hots of ``classes``; ``P̄`` predicts each variable independently.

    Args:
        variables, classes: shape of the latent.
        network: its output is the logits: ``PlainNetwork`` or a network of tokens (``token_networks.py``).
        sampling: what stands in for the gradient of a choice: ``StraightThrough`` or ``Gumbel``.
            Further arguments: ``LatentModel``.
    """

    def __init__(
        self,
        observation_spec: TensorSpec,
        num_actions: int,
        network: Part = PlainNetwork,
        variables: int = 32,
        classes: int = 32,
        sampling: Sampling | None = None,
        cost: Cost | None = None,
        **parts: Any,
    ) -> None:
        if variables < 1 or classes < 2:
            raise ValueError(
                f"world_model.variables={variables}, world_model.classes={classes}: at least 1, 2; e.g. 32."
            )
        self._shape = (variables, classes)
        self._sampling = sampling or StraightThrough()
        super().__init__(
            observation_spec,
            num_actions,
            lambda shape: network(shape, num_actions, 1, False),
            cost=cost or CrossEntropy(),
            **parts,
        )

    def build_encoder(self, name: Choice) -> nn.Module:
        """Builds ``phi`` and sets ``latent_spec`` to one-hots."""
        body = build_encoder(name, self.observation_spec)
        variables, classes = self._shape
        self.latent_spec = OneHot(classes, shape=(variables, classes), dtype=torch.float32)
        return CategoricalEncoder(body, math.prod(body.latent_shape), variables, classes, self._sampling)

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """Independent one-hot variables."""
        logits = self.network(latent, action).location.squeeze(-3)
        return event(self._sampling.distribution(logits), 1)
