"""Tables in place of networks: every number can be read off, and nothing is shared between states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, OneHotCategoricalStraightThrough
from torchrl.data import OneHot, TensorSpec

from world_models.base import LatentModel, Part
from world_models.costs import Cost, CrossEntropy
from world_models.encoders import Choice
from world_models.heads import RewardHead, RewardLoss, TerminationHead, likelihood_loss
from world_models.names import no_such
from world_models.numbering import build_numbering
from world_models.one_hots import straight_through
from world_models.transition import LocationScale, Network

#: Unit of a table's entries. Where a step of a network moves thousands of weights at once, a step of a table moves
#: one entry: in this unit both go about as far at the same learning rate.
UNIT = 10.0


class Table(nn.Module):
    """``[K, A, outputs]`` entries, of which a one-hot latent ``[..., K]`` and an action ``[...]`` choose a row.

    A product, not a look-up: through it the gradient reaches the latent, and so the encoder.
    """

    def __init__(self, entries: Tensor) -> None:
        super().__init__()
        self.entries = nn.Parameter(entries / UNIT)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """The chosen rows, ``[..., outputs]``."""
        classes, actions, outputs = self.entries.shape
        rows = latent.reshape(-1, classes) @ (UNIT * self.entries).flatten(1)
        rows = rows.reshape(-1, actions, outputs)
        rows = rows[torch.arange(len(rows), device=rows.device), action.reshape(-1)]
        return rows.reshape(*action.shape, outputs)


class TableEncoder(nn.Module):
    """``phi`` as a softmax table ``[observations, K]``: numbers ``[...]`` to one-hots ``[..., K]``.

    Forward the arg-max, backward the gradient of the probabilities (straight-through). Before training,
    observation i maps to class i mod K: the identity, where there are as many classes as observations.

    Args:
        observations, classes: sizes of the table.
        margin: by how much the logit of that class leads.
    """

    def __init__(self, observations: int, classes: int, margin: float) -> None:
        super().__init__()
        own = F.one_hot(torch.arange(observations) % classes, classes).float()
        self.logits = nn.Parameter(margin * own / UNIT)

    def forward(self, number: Tensor) -> Tensor:
        """One-hot latents ``[..., K]``."""
        return straight_through((UNIT * self.logits[number]).softmax(-1))


class TransitionTable(Network):
    """Logits ``[K, A, K]`` of the next class.

    Before training a class leads to itself with probability ``stay`` and to all others alike: of what nobody
    has tried, a dream expects nothing.
    """

    def __init__(self, latent_shape: Sequence[int], num_actions: int, stay: float = 0.9) -> None:
        super().__init__(latent_shape, 1, False)
        if not 0.0 < stay < 1.0:
            raise ValueError(f"world_model.network.stay={stay}: must lie in (0, 1), e.g. 0.9.")
        (classes,) = latent_shape
        lead = math.log(stay * max(classes - 1, 1) / (1 - stay))
        self.table = Table(lead * torch.eye(classes).unsqueeze(1).repeat(1, num_actions, 1))

    def forward(self, latent: Tensor, action: Tensor) -> LocationScale:
        """The logits as the location of one component, ``[..., 1, K]``."""
        return LocationScale(self.table(latent, action).unsqueeze(-2), None)


class RewardTable(RewardHead):
    """The expected reward of each class and action, ``sinh`` of a table ``[K, A]``: small rewards as they are, large
    ones on a logarithmic scale, so that one of 47 is not 47 times as far away as one of 1.

    Args:
        latent_shape, num_actions: sizes of the table.
        loss: ``squared``, whose best answer is the mean, or ``l1``, whose best is the median.
    """

    def __init__(self, latent_shape: Sequence[int], num_actions: int, loss: RewardLoss = "squared") -> None:
        super().__init__()
        if loss not in get_args(RewardLoss):
            raise no_such("loss", "world_model.reward.loss", loss, ("l1", "squared"))
        self.kind = loss
        self.table = Table(torch.zeros(*latent_shape, num_actions, 1))

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Expected reward ``[...]``, in the units of the environment."""
        return self.table(latent, action).squeeze(-1).sinh()

    def loss(self, latent: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        """``|r - R̄|`` or ``(r - R̄)^2``: ``[...]``."""
        error = reward - self(latent, action)
        return error.abs() if self.kind == "l1" else error.square()


class TerminationTable(TerminationHead):
    """Log odds ``[K, A, K]`` of an end on ``(z, a, z')``, trained by likelihood.

    Args:
        latent_shape, num_actions: sizes of the table.
        initial: probability of an end before training.
    """

    def __init__(self, latent_shape: Sequence[int], num_actions: int, initial: float = 0.02) -> None:
        super().__init__()
        odds = self.log_odds(initial)
        self.table = Table(torch.full((*latent_shape, num_actions, *latent_shape), odds))

    def logit(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """Log odds of an end ``[...]``."""
        return (self.table(latent, action) * next_latent).sum(-1)

    def loss(self, latent: Tensor, action: Tensor, next_latent: Tensor, terminated: Tensor) -> Tensor:
        """Negative Bernoulli log-likelihood ``[...]``, in nats."""
        return likelihood_loss(self.logit(latent, action, next_latent), terminated)


class TabularModel(LatentModel):
    """``z`` is one one-hot of K classes; ``phi``, ``P̄``, ``R̄`` and ``D̄`` are tables.

    For environments with few distinct observations: integers, or pictures of which there are not many.

    Args:
        classes: K, or the number of distinct observations where that is known to be smaller.
        observations: distinct observations that there is room for; ``None`` for as many as classes.
        margin: how far the encoder's logits lead at first; see ``TableEncoder``. Further arguments: ``LatentModel``.
    """

    #: Two one-hots are as far apart as two points of the latent space can be, so the distance of any two
    #: distributions on it is at most that of the latents they start from.
    transition_lipschitz = 1.0

    def __init__(
        self,
        observation_spec: TensorSpec,
        num_actions: int,
        classes: int = 64,
        observations: int | None = None,
        margin: float = 5.0,
        network: Part = TransitionTable,
        reward: Part = RewardTable,
        termination: Part = TerminationTable,
        cost: Cost | None = None,
        **parts: Any,
    ) -> None:
        for key, number, least in (("classes", classes, 2), ("observations", observations, 1)):
            if number is not None and number < least:
                raise ValueError(f"world_model.{key}={number}: at least {least}")
        if margin <= 0:
            raise ValueError(f"world_model.margin={margin}: must be above 0, e.g. 5.")
        self._sizes = (classes, observations, margin)
        super().__init__(
            observation_spec,
            num_actions,
            lambda shape: network(shape, num_actions),
            reward=reward,
            termination=termination,
            cost=cost or CrossEntropy(),
            **parts,
        )

    def build_encoder(self, name: Choice) -> nn.Module:
        """Builds numbering and ``phi``, and sets ``latent_spec`` to a one-hot."""
        del name
        classes, observations, margin = self._sizes
        key, capacity = ("classes", classes) if observations is None else ("observations", observations)
        self.numbering = build_numbering(self.observation_spec, capacity, f"world_model.{key}")
        classes = min(classes, self.numbering.capacity)
        self.latent_spec = OneHot(classes, dtype=torch.float32)
        return TableEncoder(self.numbering.capacity, classes, margin)

    def encode(self, observation: Tensor) -> Tensor:
        """``z = phi(s)``, ``[..., K]``."""
        return self.encoder(self.numbering(observation))

    def target(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """The target for ``phi(s')``, ``[..., K]``; a copy of the encoder takes numbers, too."""
        return self.target_choice(next_latent, self.numbering(next_observation))

    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """One one-hot, with straight-through samples."""
        logits = self.network(latent, action).location.squeeze(-2)
        return OneHotCategoricalStraightThrough(logits=logits, validate_args=False)
