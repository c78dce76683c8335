"""Distributions that torch does not have: truncated noise, the soft mixture of it, parts side by side, a vote."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torchrl.modules import Delta

_BOUND = 1.0  # the noise is a standard normal truncated to [-1, 1]
_MASS = math.erf(_BOUND / math.sqrt(2))
_EDGE = math.exp(-(_BOUND**2) / 2) / math.sqrt(2 * math.pi)  # standard normal density at the bound
_VARIANCE = 1.0 - 2.0 * _BOUND * _EDGE / _MASS


def truncated_noise(sample_shape: torch.Size, like: Tensor) -> Tensor:
    """Standard normal noise truncated to [-1, 1], by inversion: ``[*sample_shape, *like.shape]``."""
    noise = like.new_empty(sample_shape + like.shape) if sample_shape else torch.empty_like(like)
    noise = noise.detach().uniform_(-_MASS, _MASS)
    return noise.erfinv_().mul_(math.sqrt(2)).clamp_(-_BOUND, _BOUND)


class Point(Delta):
    """A certain outcome: TorchRL's, whose ``sample`` torch.compile can't follow, and which hides its ``rsample``."""

    has_rsample = True

    @property
    def variance(self) -> Tensor:
        """0, ``[..., *event]``."""
        return torch.zeros_like(self.mean)

    def sample(self, size: torch.Size | None = None) -> Tensor:
        """The point, without its gradient, ``[*size, ..., *event]``."""
        return self.rsample(size).detach()


class SoftMixture(Distribution):
    """The paper's "mixture" of K diagonal components: a sample is the *weighted mean* of the components'
    samples, ``z' = sum_k w_k z'_k``.

    Named for what it is: the weights average the components instead of choosing one, so this is a single
    distribution around ``sum_k w_k mean_k`` (exactly normal if the components are) and can never be
    bimodal. For a choice among components use ``torch.distributions.MixtureSameFamily``.

    Args:
        loc: weighted mean of the components' locations, ``[..., *event]``.
        scales: the components' scales, each times its weight, ``[..., K, *event]``; the noise of each is a
            standard normal truncated to [-1, 1].
        event_dims: number of event axes.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, scales: Tensor, event_dims: int) -> None:
        self.loc, self.scales = loc, scales
        dims = loc.ndim - event_dims
        super().__init__(loc.shape[:dims], loc.shape[dims:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean, ``[..., *event]``."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, ``[..., *event]``."""
        return _VARIANCE * self.scales.square().sum(-1 - len(self.event_shape))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Reparameterized sample, ``[*sample_shape, ..., *event]``."""
        noise = truncated_noise(torch.Size(sample_shape), self.scales)
        return self.loc + (self.scales * noise).sum(-1 - len(self.event_shape))


class SideBySide(Distribution):
    """Independent parts whose flattened events stand beside each other in one vector ``[..., sum of numbers]``.

    Args:
        parts: distributions of the same batch shape, each with one event axis or more.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, *parts: Distribution) -> None:
        self.parts = parts
        self._sizes = [part.event_shape.numel() for part in parts]
        super().__init__(parts[0].batch_shape, torch.Size([sum(self._sizes)]), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether every part can be sampled with gradient."""
        return all(part.has_rsample for part in self.parts)

    def split(self, value: Tensor) -> list[Tensor]:
        """The parts of a value ``[..., event]``, each in its own event shape."""
        pieces = value.split(self._sizes, -1)
        return [piece.unflatten(-1, part.event_shape) for piece, part in zip(pieces, self.parts, strict=True)]

    def join(self, values: Sequence[Tensor]) -> Tensor:
        """The inverse of ``split``."""
        events = (len(part.event_shape) for part in self.parts)
        return torch.cat([value.flatten(-dims) for value, dims in zip(values, events, strict=True)], -1)

    @property
    def mean(self) -> Tensor:
        """Mean, ``[..., event]``."""
        return self.join([part.mean for part in self.parts])

    @property
    def variance(self) -> Tensor:
        """Variance of each number, ``[..., event]``."""
        return self.join([part.variance for part in self.parts])

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Sample without gradient, ``[*sample_shape, ..., event]``."""
        return self.join([part.sample(torch.Size(sample_shape)) for part in self.parts])

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Sample with the gradient that each part gives it, ``[*sample_shape, ..., event]``."""
        return self.join([part.rsample(torch.Size(sample_shape)) for part in self.parts])

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum over the parts, ``[...]``."""
        scores = [part.log_prob(piece) for part, piece in zip(self.parts, self.split(value), strict=True)]
        return torch.stack(scores).sum(0)


class Vote(Distribution):
    """The equal mixture of K distributions of any kind, all of the same batch and event shape.

    Args:
        members: the K distributions.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, members: Sequence[Distribution]) -> None:
        self.members = list(members)
        super().__init__(members[0].batch_shape, members[0].event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether every member can be sampled with gradient."""
        return all(member.has_rsample for member in self.members)

    @property
    def mean(self) -> Tensor:
        """Mean, ``[..., *event]``."""
        return self._means.mean(0)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, ``[..., *event]``: the members' own, and that of their means."""
        means = self._means
        within = torch.stack([member.variance for member in self.members]).mean(0)
        return within + (means - means.mean(0)).square().mean(0)

    @property
    def disagreement(self) -> Tensor:
        """Mean L1 distance of the members' means from the mean of all, ``[...]``: at most their mean W1 to the mixture,
        0 where all agree."""
        means = self._means
        return (means - means.mean(0)).abs().flatten(-len(self.event_shape)).sum(-1).mean(0)

    @property
    def _means(self) -> Tensor:
        return torch.stack([member.mean for member in self.members])

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Sample without gradient, ``[*sample_shape, ..., *event]``: of a member drawn for each."""
        with torch.no_grad():
            return self._chosen([member.sample(torch.Size(sample_shape)) for member in self.members])

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """As ``sample``, with the gradient that the member drawn gives it."""
        return self._chosen([member.rsample(torch.Size(sample_shape)) for member in self.members])

    def _chosen(self, samples: Sequence[Tensor]) -> Tensor:
        batch = samples[0].shape[: samples[0].ndim - len(self.event_shape)]
        index = torch.randint(len(samples), batch, device=samples[0].device)
        index = index.view(1, *batch, *[1] * len(self.event_shape)).expand(1, *samples[0].shape)
        return torch.stack(list(samples)).gather(0, index).squeeze(0)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density or probability, ``[...]``."""
        scores = torch.stack([member.log_prob(value) for member in self.members])
        return scores.logsumexp(0) - math.log(len(self.members))
