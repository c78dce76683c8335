"""Networks behind ``P̄(. | z, a)``: from a latent and an action to locations and scales of the next latent.

Dense for flat latents, convolutional for feature maps: the latent's shape decides. The action enters every
network as a one-hot through an unrestricted linear map added to the first layer (on a feature map: one
constant plane per action), so Lipschitz constants are in ``z``, for each action.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_models.lipschitz import (
    GroupSort2,
    LipschitzConv2d,
    LipschitzHeads,
    LipschitzLinear,
    linear_heads,
    linear_per_sample,
)
from world_models.names import at_least
from world_models.precision import Mixed, widened
from world_models.shapes import fold_batch

#: Width of two hidden layers, and where it is dear: on feature maps, whose cells all pay, and in Lipschitz layers.
WIDTH, NARROW = 128, 64
MIN_SCALE = 1e-3
INITIAL_SCALE = 0.1
_RAW_INITIAL_SCALE = math.log(math.expm1(INITIAL_SCALE))  # softplus of it is INITIAL_SCALE


class Soft(NamedTuple):
    """Mean location ``[..., *latent_shape]`` and weighted scales ``[..., K, *latent_shape]``."""

    location: Tensor
    scales: Tensor


class LocationScale(NamedTuple):
    """Parameters of K components: both ``[..., K, *latent_shape]``; ``scale`` is not negative, or None."""

    location: Tensor
    scale: Tensor | None


class Trunk(Mixed):
    """First layer plus action, then further layers, all activated: ``[B, *latent] -> [B, hidden, ...]``."""

    def __init__(self, layers: Sequence[nn.Module], activation: nn.Module, actions: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = activation
        self.action = nn.Embedding(actions, hidden)  # = a bias-free linear map of the one-hot
        nn.init.normal_(self.action.weight, std=0.5)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Features of ``[B, *latent]`` and ``[B]`` actions."""
        shift = self.action(action)
        first, *others = self.layers
        with self.arithmetic(latent.device):
            features = first(latent)
            # In place: no layer needs its own output for its gradient.
            features = features.add_(shift.reshape(*shift.shape, *[1] * (features.ndim - 2)).to(features.dtype))
            features = self.activation(features)
            for layer in others:
                features = self.activation(layer(features))
        return widened(features)


class ExactTrunk(Trunk):
    """A trunk that is always computed in single precision: its Lipschitz constant is a claim."""

    exact = True


class _Conv2x2(nn.Conv2d):
    """A 2x2 convolution that keeps the map's size: zeros at the right and lower edge, or at the left and upper one.

    A cell sees its neighbors on the side of the zeros, so that two in a row with zeros on different sides see all
    around it."""

    def __init__(self, in_channels: int, out_channels: int, before: bool) -> None:
        super().__init__(in_channels, out_channels, 2)
        self.zeros = (1, 0, 1, 0) if before else (0, 1, 0, 1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, self.zeros))


class _Heads(nn.Module):
    """``heads`` unrestricted linear outputs: ``[B, in, ...] -> [B, heads, out, ...]``."""

    def __init__(self, in_features: int, heads: int, out_features: int) -> None:
        super().__init__()
        limit = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(heads, out_features, in_features).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(heads, out_features))

    def forward(self, features: Tensor) -> Tensor:
        return linear_heads(features, self.weight, self.bias)


def _is_map(latent_shape: Sequence[int]) -> bool:
    return len(latent_shape) == 3


class Network(nn.Module):
    """Folds the batch, runs trunk and heads, splits the heads into locations and scales.

    Args:
        latent_shape: shape of one latent; three axes mean a feature map.
        components: number of locations K.
        with_scale: also produce K scales.
    """

    #: Lipschitz constant in z of ``location + scale * noise`` for any fixed noise in [-1, 1].
    lipschitz: float | None = None

    trunk: Trunk

    def __init__(self, latent_shape: Sequence[int], components: int, with_scale: bool) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.components, self.with_scale = components, with_scale
        self.num_heads = components * (2 if with_scale else 1)

    def soft(self, latent: Tensor, action: Tensor, weights: Tensor) -> Soft:
        """``sum_k w_k(a) location_k`` and every ``w_k(a) scale_k``.

        Args:
            weights: ``[num_actions, K]``.
        """
        location, scale = self(latent, action)
        assert scale is not None
        chosen = weights[action]
        chosen = chosen.reshape(*chosen.shape, *[1] * len(self.latent_shape))
        return Soft((chosen * location).sum(action.ndim), chosen * scale)

    def forward(self, latent: Tensor, action: Tensor) -> LocationScale:
        """Locations and scales of the K components; latents ``[..., *latent_shape]``, actions ``[...]``."""
        raise NotImplementedError

    def _fold(self, latent: Tensor) -> tuple[Tensor, torch.Size]:
        folded, batch = fold_batch(latent, len(self.latent_shape))
        if _is_map(self.latent_shape):
            return folded.contiguous(memory_format=torch.channels_last), batch
        return folded.flatten(1), batch

    def _unfold(self, location: Tensor, scale: Tensor | None, batch: torch.Size) -> LocationScale:
        shape = (*batch, self.components, *self.latent_shape)
        return LocationScale(location.reshape(shape), None if scale is None else scale.reshape(shape))


class PlainNetwork(Network):
    """Unrestricted: dense with SiLU on flat latents, 2x2 convolutions on feature maps, then linear outputs.

    Args:
        hidden: width of the hidden layers, one number (two layers of it) or one number per layer; ``None`` for 128, on
            feature maps 64.
        residual: the locations are changes of ``z``: what does not move need not be learnt. Not for logits.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_actions: int,
        components: int = 1,
        with_scale: bool = False,
        hidden: int | Sequence[int] | None = None,
        residual: bool = True,
    ) -> None:
        super().__init__(latent_shape, components, with_scale)
        maps = _is_map(latent_shape)
        if hidden is None:
            hidden = NARROW if maps else WIDTH
        at_least("world_model.network.hidden", hidden, 1, several=True)
        self.residual = residual
        widths = [hidden, hidden] if isinstance(hidden, int) else list(hidden)
        features = latent_shape[0] if maps else math.prod(latent_shape)
        sizes = enumerate(zip([features, *widths[:-1]], widths, strict=True))
        layers = [_Conv2x2(n, m, before=i % 2 == 1) if maps else nn.Linear(n, m) for i, (n, m) in sizes]
        self.trunk = Trunk(layers, nn.SiLU(), num_actions, widths[0])
        self.heads = _Heads(widths[-1], self.num_heads, features)

    def forward(self, latent: Tensor, action: Tensor) -> LocationScale:
        """Locations and scales of the K components."""
        folded, batch = self._fold(latent)
        heads = self.heads(self.trunk(folded, action.reshape(-1)))
        location, scale = heads[:, : self.components], heads[:, self.components :]
        if self.residual:
            location = location + folded.unsqueeze(1)
        if not self.with_scale:
            return self._unfold(location, None, batch)
        return self._unfold(location, F.softplus(scale + _RAW_INITIAL_SCALE) + MIN_SCALE, batch)


class HalfShares(nn.Module):
    """The paper's split of the Lipschitz budget: mean and scale halved, nothing of ``z`` itself."""

    shares: Tensor

    def __init__(self, with_scale: bool) -> None:
        super().__init__()
        shares = torch.tensor([0.0, 0.5, 0.5] if with_scale else [0.0, 1.0, 0.0])
        self.register_buffer("shares", shares, persistent=False)

    def forward(self) -> Tensor:
        """Shares ``[3]`` of ``z`` itself, the location and the scale network; they sum to 1."""
        return self.shares


class LearnedShares(nn.Module):
    """A learnt split of the Lipschitz budget between ``z`` itself, the location and the scale network.

    With fixed halves the mean contracts by 2, so "nothing moves" (``z' = z``) cannot be represented, however
    the encoder adapts; with a share for ``z`` itself it can.
    """

    def __init__(self, with_scale: bool) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, 1.0, -1.0] if with_scale else [0.0, 1.0]))

    def forward(self) -> Tensor:
        """Shares ``[3]``, or ``[2]`` without a scale, of ``z`` itself, location and scale; they sum to 1."""
        return self.logits.softmax(0)


class LipschitzNetwork(Network):
    """1-Lipschitz in ``z``: spectrally normalized layers, GroupSort-2, and one budget for mean and scale.

    ``location = a z + b f(z)``, ``scale = |c g(z) + bias|`` with ``a + b + c = 1`` (learnt) and f, g
    1-Lipschitz, so ``location + scale * noise`` is 1-Lipschitz for any fixed noise in [-1, 1].

    Args:
        hidden: width of the two hidden layers, even; ``None`` for 64.
    """

    lipschitz = 1.0
    shares_type: type[LearnedShares] | type[HalfShares] = LearnedShares
    #: Whether on maps each cell sees all around it, and not only below and to its right.
    all_around = True

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_actions: int,
        components: int = 1,
        with_scale: bool = False,
        hidden: int | None = None,
    ) -> None:
        super().__init__(latent_shape, components, with_scale)
        hidden = NARROW if hidden is None else hidden
        at_least("world_model.network.hidden", hidden, 2)
        if hidden % 2:
            raise ValueError(f"world_model.network.hidden={hidden}: GroupSort-2 needs an even width, e.g. 64.")
        maps = _is_map(latent_shape)
        features = latent_shape[0] if maps else math.prod(latent_shape)
        layers: list[nn.Module]
        if maps:
            size = (latent_shape[1], latent_shape[2])
            second = LipschitzConv2d(hidden, hidden, *size, before=self.all_around)
            layers = [LipschitzConv2d(features, hidden, *size), second]
        else:
            layers = [LipschitzLinear(features, hidden), LipschitzLinear(hidden, hidden)]
        self.trunk = ExactTrunk(layers, GroupSort2(dim=1), num_actions, hidden)
        self.heads = LipschitzHeads(hidden, self.num_heads, features)
        nn.init.constant_(self.heads.bias[components:], INITIAL_SCALE)
        self.shares = self.shares_type(with_scale)

    def forward(self, latent: Tensor, action: Tensor) -> LocationScale:
        """Locations and scales of the K components."""
        shares, weight, bias = self.shares(), self.heads.normalized(), self.heads.bias
        folded, batch = self._fold(latent)
        features = self.trunk(folded, action.reshape(-1))
        k = self.components
        location = linear_heads(features, shares[1] * weight[:k], bias[:k])
        location = torch.addcmul(location, shares[0], folded.unsqueeze(1))
        if not self.with_scale:
            return self._unfold(location, None, batch)
        return self._unfold(location, linear_heads(features, shares[2] * weight[k:], bias[k:]).abs(), batch)

    def soft(self, latent: Tensor, action: Tensor, weights: Tensor) -> Soft:
        """As the general form, at a fifth of its cost for the mean."""
        # As the weights depend on the action alone, the K location layers average to one layer per action
        # before they meet the features. On flat latents there is too little work for that to pay.
        if not _is_map(self.latent_shape):
            return super().soft(latent, action, weights)
        shares, weight, bias = self.shares(), self.heads.normalized(), self.heads.bias
        folded, batch = self._fold(latent)
        features = self.trunk(folded, action.reshape(-1))
        k = self.components
        mean_weight = torch.einsum("ak,koi->aoi", weights, shares[1] * weight[:k])
        location = linear_per_sample(features, mean_weight, weights @ bias[:k], action.reshape(-1))
        location = torch.addcmul(location, shares[0], folded)
        scale = linear_heads(features, shares[2] * weight[k:], bias[k:]).abs()
        chosen = weights[action.reshape(-1)]
        scale = scale * chosen.reshape(*chosen.shape, *[1] * (scale.ndim - 2))
        scale = scale.reshape(*batch, k, *self.latent_shape)
        return Soft(location.reshape(*batch, *self.latent_shape), scale)


class PaperLipschitzNetwork(LipschitzNetwork):
    """The paper's 1-Lipschitz network: mean and scale halved (``HalfShares``), zeros at the right and lower edge."""

    shares_type = HalfShares
    all_around = False
