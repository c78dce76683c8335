"""One-hot latents with a gradient: exact one-hots forward, something differentiable backward.

Two choices of what stands in for the gradient of a choice, one interface: of an arg-max (the encoder's, without
noise, as the deployed policy must be deterministic in the observation) and of a sample (the model's).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import OneHotCategorical, OneHotCategoricalStraightThrough


def straight_through(probabilities: Tensor) -> Tensor:
    """Forward the arg-max one-hot, backward the gradient of the probabilities: ``[..., K]`` to ``[..., K]``."""
    one_hot = F.one_hot(probabilities.argmax(-1), probabilities.shape[-1]).to(probabilities.dtype)
    return one_hot + (probabilities - probabilities.detach())


class Sampling:
    """What stands in for the gradient of a choice. The costs that are closed forms of the probabilities
    (``CrossEntropy``, ``Hamming``, ...) draw no samples: for them it matters to the encoder alone."""

    def mode(self, logits: Tensor) -> Tensor:
        """Arg-max one-hots ``[..., K]`` of logits ``[..., K]``."""
        raise NotImplementedError

    def distribution(self, logits: Tensor) -> OneHotCategorical:
        """One-hots with ``rsample``; batch shape ``[...]``, event shape ``[K]``."""
        raise NotImplementedError


class StraightThrough(Sampling):
    """The gradient of the probabilities themselves, whatever was drawn (Bengio et al. 2013)."""

    def mode(self, logits: Tensor) -> Tensor:
        """Arg-max one-hots ``[..., K]`` of logits ``[..., K]``."""
        return straight_through(logits.softmax(-1))

    def distribution(self, logits: Tensor) -> OneHotCategorical:
        """One-hots with ``rsample``; batch shape ``[...]``, event shape ``[K]``."""
        return OneHotCategoricalStraightThrough(logits=logits, validate_args=False)


class Gumbel(Sampling):
    """The gradient of a relaxed sample, ``softmax((logits + Gumbel noise) / temperature)``, at the very noise that
    made the choice (Jang et al. 2017, Maddison et al. 2017). The arg-max has no noise in its gradient, either.

    Args:
        temperature: towards 0 the gradient is less biased and more noisy.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if temperature <= 0:
            raise ValueError(f"world_model.sampling.temperature={temperature}: must be above 0, e.g. 1.")
        self.temperature = temperature

    def mode(self, logits: Tensor) -> Tensor:
        """Arg-max one-hots ``[..., K]`` of logits ``[..., K]``."""
        return straight_through((logits / self.temperature).softmax(-1))

    def distribution(self, logits: Tensor) -> OneHotCategorical:
        """One-hots with ``rsample``; batch shape ``[...]``, event shape ``[K]``."""
        return GumbelOneHot(self.temperature, logits)


class GumbelOneHot(OneHotCategorical):
    """A one-hot categorical whose ``rsample`` is a straight-through Gumbel-softmax sample.

    Args:
        temperature: of the relaxation; the samples themselves do not depend on it.
        logits: ``[..., K]``.
    """

    has_rsample = True

    def __init__(self, temperature: float, logits: Tensor) -> None:
        super().__init__(logits=logits, validate_args=False)
        self.temperature = temperature

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """One-hots ``[*sample_shape, ..., K]``."""
        logits = self.logits.expand(self._extended_shape(torch.Size(sample_shape)))
        return F.gumbel_softmax(logits, self.temperature, hard=True)
