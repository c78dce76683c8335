"""A recurrent state-space model as in DreamerV3 (Hafner et al. 2023, arXiv 2301.04104), under the contract.

The latent is the deterministic state with the one-hots beside it, ``z = [h, s]``; the memory is ``h``. DreamerV3's
parts are the contract's verbs: the posterior is ``infer``, the recurrence is ``remember``, and ``P̄(. | z, a)`` is the
next ``h``, which is certain, beside the prior's one-hots.

The posterior's likeliest classes stand in the place of a sample: the deployed policy is then a function of what was
seen, so that its importance ratios are exact. The divergence of a point from the prior is a cross-entropy, which
``KLBalance`` splits as DreamerV3 does.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, OneHotCategoricalStraightThrough
from torchrl.data import TensorSpec, Unbounded
from torchrl.modules import DreamerV3BlockGRUCell, DreamerV3MLP

from world_models.base import LatentModel, Part, event
from world_models.costs import Cost, KLBalance
from world_models.distributions import Point, SideBySide
from world_models.encoders import Choice, Encoder, build_encoder
from world_models.names import at_least
from world_models.one_hots import straight_through
from world_models.recurrent import RecurrentModel
from world_models.targets import Gradient, Slow


class RSSMEncoder(nn.Module):
    """Everything that decides which latent history leads to: ``phi``.

    Args:
        body: encoder of one observation.
        num_actions: number of discrete actions.
        deterministic: width of ``h``.
        variables, classes: shape of ``s``.
        hidden: width of the hidden layers.
    """

    def __init__(
        self, body: Encoder, num_actions: int, deterministic: int, variables: int, classes: int, hidden: int
    ) -> None:
        super().__init__()
        self.body, self.num_actions = body, num_actions
        self.sizes = (deterministic, variables * classes)
        self.shape = (variables, classes)
        features = math.prod(body.latent_shape)
        self.posterior = DreamerV3MLP(features + deterministic, variables * classes, depth=1, num_cells=hidden)
        self.cell = DreamerV3BlockGRUCell(
            variables * classes + num_actions, deterministic, projection_size=hidden, num_blocks=8
        )

    def embed(self, observation: Tensor) -> Tensor:
        """Features of single observations, ``[..., features]``."""
        return self.body(observation).flatten(-len(self.body.latent_shape))

    def infer(self, embedding: Tensor, memory: Tensor) -> Tensor:
        """``[h, s]`` with the likeliest classes of the posterior, straight-through: ``[..., D + V * C]``."""
        probabilities = self.posterior(torch.cat((embedding, memory), -1)).unflatten(-1, self.shape).softmax(-1)
        return torch.cat((memory, straight_through(probabilities).flatten(-2)), -1)

    def remember(self, latent: Tensor, action: Tensor) -> Tensor:
        """The next ``h``, ``[..., D]``."""
        h, s = latent.reshape(-1, sum(self.sizes)).split(self.sizes, -1)
        taken = F.one_hot(action.reshape(-1), self.num_actions).to(s.dtype)
        return self.cell(torch.cat((s, taken), -1), h).reshape(*action.shape, -1)


class RSSM(RecurrentModel, LatentModel):
    """DreamerV3's world model: a memory, one-hots, and reconstruction where a ``decoder`` is given.

    Args:
        deterministic: width of ``h``, a multiple of 8 (the recurrence works in 8 blocks).
        variables, classes: shape of ``s``.
        hidden: width of the hidden layers.
        unimix: share of a uniform distribution in the prior.
        decoder: built as ``decoder(latent_shape, encoder)``; ``None`` for no reconstruction. Further arguments:
            ``LatentModel``.
    """

    encoder: RSSMEncoder

    def __init__(
        self,
        observation_spec: TensorSpec,
        num_actions: int,
        deterministic: int = 256,
        variables: int = 16,
        classes: int = 16,
        hidden: int = 256,
        unimix: float = 0.01,
        decoder: Part | None = None,
        target: Part = Gradient,
        cost: Cost | None = None,
        **parts: Any,
    ) -> None:
        _check(deterministic, variables, classes, hidden, unimix)
        self._sizes = (num_actions, deterministic, variables, classes, hidden)
        super().__init__(
            observation_spec,
            num_actions,
            lambda shape: DreamerV3MLP(deterministic, variables * classes, depth=1, num_cells=hidden),
            target=target,
            cost=cost or KLBalance(),
            **parts,
        )
        if isinstance(self.target_choice, Slow):
            raise ValueError(
                "world_model.target=Slow: a slow copy of the encoder would need the memory, of which a target is not "
                "told. Allowed: Gradient, StopGradient."
            )
        self.unimix = unimix
        self.memory_spec = Unbounded(deterministic)
        self.decoder = None if decoder is None else decoder(self.latent_spec.shape, self.encoder.body)

    encode = RecurrentModel.encode

    def build_encoder(self, name: Choice) -> nn.Module:
        """Builds ``phi`` and sets ``latent_spec``."""
        encoder = RSSMEncoder(build_encoder(name, self.observation_spec), *self._sizes)
        self.latent_spec = Unbounded(sum(encoder.sizes), dtype=torch.float32)
        return encoder

    def embed(self, observation: Tensor) -> Tensor:
        """Features of single observations, ``[..., features]``."""
        return self.encoder.embed(observation)

    def infer(self, embedding: Tensor, memory: Tensor) -> Tensor:
        """``z = [h, s]``, ``[..., D + V * C]``."""
        return self.encoder.infer(embedding, memory)

    def remember(self, latent: Tensor, action: Tensor) -> Tensor:
        """The next ``h``, ``[..., D]``."""
        return self.encoder.remember(latent, action)

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """The next ``h``, certain, beside the prior's one-hots with straight-through samples."""
        memory = self.remember(latent, action)
        probabilities = self.network(memory).unflatten(-1, self.encoder.shape).softmax(-1)
        mixed = (1 - self.unimix) * probabilities + self.unimix / self.encoder.shape[1]
        prior = event(OneHotCategoricalStraightThrough(probs=mixed, validate_args=False), 1)
        return SideBySide(Point(memory, batch_shape=action.shape, event_shape=memory.shape[-1:]), prior)

    def representation_loss(self, latent: Tensor, observation: Tensor) -> Tensor:
        """The weighted reconstruction error, if there is a decoder, beside what ``spread`` asks; ``[...]``."""
        apart = super().representation_loss(latent, observation)
        return apart if self.decoder is None else apart + self.decoder.loss(latent, observation)

    def decode(self, latent: Tensor) -> Tensor | None:
        """The observation that a latent stands for, ``[..., *observation_shape]``; ``None`` without a decoder."""
        return None if self.decoder is None else self.decoder.observation(latent)


def _check(deterministic: int, variables: int, classes: int, hidden: int, unimix: float) -> None:
    if deterministic < 8 or deterministic % 8:
        raise ValueError(f"world_model.deterministic={deterministic}: must be a multiple of 8, e.g. 256.")
    if variables < 1 or classes < 2:
        raise ValueError(f"world_model.variables={variables}, world_model.classes={classes}: at least 1, 2; e.g. 16.")
    at_least("world_model.hidden", hidden, 1)
    if not 0.0 <= unimix < 1.0:
        raise ValueError(f"world_model.unimix={unimix}: must lie in [0, 1), e.g. 0.01.")
