"""Reward heads ``R̄(z, a)`` and termination heads ``D̄(z, a, z')``, each with its per-transition loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_models.lipschitz import GroupSort2, LipschitzHeads, LipschitzLinear
from world_models.names import at_least, no_such
from world_models.transition import ExactTrunk, Trunk

RewardLoss = Literal["l1", "squared"]


def _trunk(features: int, num_actions: int, hidden: int) -> Trunk:
    return Trunk([nn.Linear(features, hidden), nn.Linear(hidden, hidden)], nn.SiLU(), num_actions, hidden)


class RewardHead(nn.Module):
    """What a model asks of ``R̄``."""

    #: Lipschitz constant in z for each action, where the construction guarantees one.
    lipschitz: float | None = None

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Expected reward ``[...]``, in the units of the environment."""
        raise NotImplementedError

    def loss(self, latent: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        """Per-transition training loss ``[...]``."""
        raise NotImplementedError


#: Of a two-hot head's bins in symlog: beyond 88 the bins themselves are infinite in single precision.
_LARGEST_LIMIT = 80.0


class TwoHotReward(RewardHead):
    """A distribution over bins that are evenly spaced on the symlog scale (Hafner et al. 2023).

    The bins reach from ``-symexp(limit)`` to ``symexp(limit)``. A reward becomes the two weights on its
    neighboring bins whose expectation, *in units of reward*, is the reward itself, so the mean is unbiased;
    the loss is the cross-entropy less the target's entropy (its least possible value, so a perfect head
    has loss 0). Its gradient does not depend on the reward's magnitude: rewards of -47 and of 10,000 are
    learnt as fast as rewards of 1. Before training the mean is exactly 0 and the outer bins carry next to
    no mass, so their large values cannot drown the small ones.

    The mean is clamped to the range of the rewards that the loss has seen (kept in ``seen``): on latents that
    no data lead to, a thousandth of the mass on a bin of 20,000 would promise a reward of 20.

    Args:
        latent_shape, num_actions: sizes of the inputs.
        bins: number of bins, odd so that one of them is 0.
        limit: symlog of the largest reward that can be told; 10 means about 22,000.
        hidden: width of the two hidden layers.
    """

    bins: Tensor
    seen: Tensor

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_actions: int,
        bins: int = 127,
        limit: float = 10.0,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        if bins < 3 or bins % 2 == 0:
            raise ValueError(f"world_model.reward.bins={bins}: must be odd and at least 3, e.g. 127.")
        if not 0 < limit <= _LARGEST_LIMIT:
            raise ValueError(
                f"world_model.reward.limit={limit}: must be above 0 and at most {_LARGEST_LIMIT}, e.g. 10; it is the "
                "symlog of a reward."
            )
        at_least("world_model.reward.hidden", hidden, 1)
        grid = torch.linspace(-limit, limit, bins, dtype=torch.float64)
        grid = (grid - grid.flip(0)) / 2  # exactly symmetric, so that a symmetric head predicts exactly 0
        self.register_buffer("bins", (grid.sign() * grid.abs().expm1()).float(), persistent=False)
        self.register_buffer("seen", torch.zeros(2))
        self.trunk = _trunk(math.prod(latent_shape), num_actions, hidden)
        self.output = nn.Linear(hidden, bins)
        nn.init.zeros_(self.output.weight)
        self.output.bias.data = -2.0 * grid.abs().float()
        self.event_dims = len(latent_shape)

    def logits(self, latent: Tensor, action: Tensor) -> Tensor:
        """Unnormalized log probabilities of the bins: ``[..., bins]``."""
        features = self.trunk(latent.reshape(-1, *latent.shape[-self.event_dims :]).flatten(1), action.reshape(-1))
        return self.output(features).reshape(*action.shape, -1)

    def two_hot(self, reward: Tensor) -> Tensor:
        """Weights ``[..., bins]`` on the two neighboring bins, with expectation ``reward`` (clamped)."""
        reward = reward.clamp(self.bins[0], self.bins[-1])
        upper = torch.searchsorted(self.bins, reward.contiguous()).clamp(1, len(self.bins) - 1)
        low, high = self.bins[upper - 1], self.bins[upper]
        weight = ((reward - low) / (high - low)).unsqueeze(-1)
        empty = reward.new_zeros(*reward.shape, len(self.bins))
        return empty.scatter(-1, upper.unsqueeze(-1), weight).scatter(-1, upper.unsqueeze(-1) - 1, 1 - weight)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Expected reward ``[...]``, in the units of the environment."""
        probabilities = self.logits(latent, action).softmax(-1)
        middle = len(self.bins) // 2
        # Mirrored bins are paired before the sum: equal tails cancel exactly.
        net = probabilities[..., middle + 1 :] - probabilities[..., :middle].flip(-1)
        return (net * self.bins[middle + 1 :]).sum(-1).clamp(self.seen[0], self.seen[1])

    def loss(self, latent: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        """Divergence of the head from the two-hot target ``[...]``, in nats; 0 at best."""
        with torch.no_grad():
            least, most = reward.aminmax()
            self.seen.copy_(torch.stack((torch.minimum(self.seen[0], least), torch.maximum(self.seen[1], most))))
        target = self.two_hot(reward)
        cross_entropy = -(target * self.logits(latent, action).log_softmax(-1)).sum(-1)
        return cross_entropy + torch.xlogy(target, target).sum(-1)


class ScalarReward(RewardHead):
    """A single number: two hidden layers, trained with ``|r - R̄|`` (the paper's) or its square.

    Args:
        latent_shape, num_actions: sizes of the inputs.
        loss: ``l1`` or ``squared``.
        hidden: width of the hidden layers.
    """

    def __init__(
        self, latent_shape: Sequence[int], num_actions: int, loss: RewardLoss = "squared", hidden: int = 256
    ) -> None:
        super().__init__()
        if loss not in ("l1", "squared"):
            raise no_such("loss", "world_model.reward.loss", loss, ("l1", "squared"))
        at_least("world_model.reward.hidden", hidden, 1)
        self.kind = loss
        self.event_dims = len(latent_shape)
        self.trunk, self.output = self._layers(math.prod(latent_shape), num_actions, hidden)

    def _layers(self, features: int, num_actions: int, hidden: int) -> tuple[nn.Module, nn.Module]:
        output = nn.Linear(hidden, 1)
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
        return _trunk(features, num_actions, hidden), output

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Expected reward ``[...]``, in the units of the environment."""
        flat = latent.reshape(-1, *latent.shape[-self.event_dims :]).flatten(1)
        return self.output(self.trunk(flat, action.reshape(-1))).reshape(action.shape)

    def loss(self, latent: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        """``|r - R̄|`` or ``(r - R̄)^2``: ``[...]``."""
        error = reward - self(latent, action)
        return error.abs() if self.kind == "l1" else error.square()


class LipschitzReward(ScalarReward):
    """The paper's: three spectrally normalized dense layers with GroupSort-2, 1-Lipschitz in z."""

    lipschitz = 1.0

    def _layers(self, features: int, num_actions: int, hidden: int) -> tuple[nn.Module, nn.Module]:
        if hidden % 2:
            raise ValueError(f"world_model.reward.hidden={hidden}: GroupSort-2 needs an even width, e.g. 256.")
        layers = [LipschitzLinear(features, hidden), LipschitzLinear(hidden, hidden)]
        return ExactTrunk(layers, GroupSort2(), num_actions, hidden), LipschitzHeads(hidden, 1, 1)


class TerminationHead(nn.Module):
    """What a model asks of ``D̄``.

    ``z'`` alone would not do: in Atari the last frame of a game repeats the one before, so ``z' ~ z`` there.
    """

    @staticmethod
    def log_odds(initial: float) -> float:
        """Log odds of an end before training. Raises ``ValueError`` for what is no probability."""
        if not 0.0 < initial < 1.0:
            raise ValueError(f"world_model.termination.initial={initial}: must lie in (0, 1), e.g. 0.02.")
        return math.log(initial / (1 - initial))

    def logit(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """Log odds of an end ``[...]``."""
        raise NotImplementedError

    def forward(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """Probability of an end ``[...]``."""
        return self.logit(latent, action, next_latent).sigmoid()

    def loss(self, latent: Tensor, action: Tensor, next_latent: Tensor, terminated: Tensor) -> Tensor:
        """Per-transition training loss ``[...]``."""
        raise NotImplementedError


def likelihood_loss(logit: Tensor, terminated: Tensor) -> Tensor:
    """Negative Bernoulli log-likelihood of ``terminated`` under log odds, in nats; all ``[...]``."""
    return F.binary_cross_entropy_with_logits(logit, terminated.to(logit.dtype), reduction="none")


class DenseTermination(TerminationHead):
    """Two hidden layers on ``(z, a, z')``, sigmoid output.

    Args:
        latent_shape, num_actions: sizes of the inputs.
        hidden: width of the hidden layers.
        initial: probability of an end before training; ends are rare, so a dream starts out going on.
    """

    def __init__(self, latent_shape: Sequence[int], num_actions: int, hidden: int = 128, initial: float = 0.02) -> None:
        super().__init__()
        at_least("world_model.termination.hidden", hidden, 1)
        odds = self.log_odds(initial)
        self.event_dims = len(latent_shape)
        self.trunk = _trunk(2 * math.prod(latent_shape), num_actions, hidden)
        self.output = nn.Linear(hidden, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.constant_(self.output.bias, odds)

    def logit(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """Log odds of an end ``[...]``."""
        both = torch.cat([z.flatten(-self.event_dims) for z in (latent, next_latent)], -1)
        return self.output(self.trunk(both.reshape(-1, both.shape[-1]), action.reshape(-1))).reshape(action.shape)


class BernoulliTermination(DenseTermination):
    """Trained by likelihood: the probability is calibrated at its best."""

    def loss(self, latent: Tensor, action: Tensor, next_latent: Tensor, terminated: Tensor) -> Tensor:
        """Negative Bernoulli log-likelihood ``[...]``, in nats."""
        return likelihood_loss(self.logit(latent, action, next_latent), terminated)


class AbsoluteTermination(DenseTermination):
    """Trained with the paper's ``|D̄ - terminated|``: its best answer is the likelier of 0 and 1."""

    def loss(self, latent: Tensor, action: Tensor, next_latent: Tensor, terminated: Tensor) -> Tensor:
        """``|D̄ - terminated|``: ``[...]``."""
        probability = self(latent, action, next_latent)
        return (probability - terminated.to(probability.dtype)).abs()
