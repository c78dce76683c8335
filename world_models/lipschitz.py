"""Layers whose Lipschitz constant is guaranteed, not estimated.

Power iteration approaches the spectral norm from below, so dividing by it leaves a layer above 1. Here
the divisor is an *upper* bound, by the squarings of Gram iteration (Delattre et al. 2023, arXiv
2305.16173): ``||W||_2 <= tr((W^T W)^n)^(1 / 2n)``, ``n = 2^k + 1``. It is deterministic and keeps no
state, so a resumed run is bit-identical. All constants are for the Euclidean norm.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ITERATIONS = 6
_SLACK = 1.0 + 1e-5  # covers float32 rounding in the iteration


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1).real


class _GramBound(torch.autograd.Function):
    """``tr((W^H W)^n)^(1 / 2n)`` with ``n = 2^k + 1`` for a stack of matrices, and its exact gradient.

    The gradient is ``bound * W G^(n-1) / tr(G^n)``, ``G = W^H W``: one product with the last iterate, in
    place of a backward pass through every squaring.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, iterations: int) -> Tensor:
        wide = matrix.shape[-2] <= matrix.shape[-1]
        gram = matrix @ matrix.mH if wide else matrix.mH @ matrix
        tiny = torch.finfo(gram.dtype).tiny
        power = gram
        log_scale = _trace(gram).mul(0)
        for step in range(iterations):
            log_scale = 2 * log_scale
            if step % 2 == 0:  # two squarings cannot underflow: the largest eigenvalue is over 1 / rows
                scale = _trace(power).clamp_min(tiny)
                log_scale = log_scale + 2 * scale.log()
                power = power / scale[..., None, None]
            power = power @ power
        trace = (gram * power.conj()).sum((-2, -1)).real.clamp_min(tiny)
        bound = ((log_scale + trace.log()) / (2 * (2**iterations + 1))).exp() * _SLACK
        ctx.save_for_backward(matrix, power, bound / trace)
        ctx.wide = wide
        return bound

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        matrix, power, factor = ctx.saved_tensors
        product = power @ matrix if ctx.wide else matrix @ power
        return (grad * factor)[..., None, None] * product, None


def gram_bound(matrix: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Upper bound of the spectral norm of each matrix ``[..., m, n]`` (real or complex): ``[...]``.

    At most ``min(m, n)^(1 / (2^(k+1) + 2))`` times the spectral norm, 1.03 for 64 rows and k = 6. Every
    power is rescaled and its scale kept as a logarithm, so nothing overflows. Differentiable once.
    """
    return _GramBound.apply(matrix, iterations)


def conv_bound(kernel: Tensor, height: int, width: int, iterations: int = ITERATIONS) -> Tensor:
    """Upper bound of the operator norm of a stride-1, zero-padded convolution on ``height x width`` maps.

    The map with its zero padding sits on a torus of ``(height + k - 1) x (width + k - 1)`` points, where
    the convolution is circular and falls apart into one ``[out, in]`` matrix per frequency; cropping does
    not add to the norm. The gradient runs through the frequency of the largest bound alone.

    Args:
        kernel: ``[out, in, k, k]``.
    """
    size = (height + kernel.shape[-2] - 1, width + kernel.shape[-1] - 1)
    transform = torch.fft.rfft2(kernel, s=size).flatten(2).permute(2, 0, 1)
    with torch.no_grad():
        worst = gram_bound(transform, iterations).argmax()
    return gram_bound(transform[worst], iterations)


class _Normalized(nn.Module):
    """Holds ``weight``; ``normalized()`` is the weight divided by its bound, cached until the weight changes.

    The cache serves calls without gradient only: a dream calls the transition many times with the same weights.
    It is valid for equal numbers, not for an equal version counter: fused optimizers do not raise that counter.
    """

    weight: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self._cache: tuple[Tensor, Tensor] | None = None

    def bound(self) -> Tensor:
        """Upper bound of the operator norm of the raw weight."""
        raise NotImplementedError

    def normalized(self) -> Tensor:
        """The weight, with operator norm at most 1."""
        if torch.compiler.is_compiling():  # whether numbers are equal is not known when a graph is made
            return self._divide()
        if torch.is_grad_enabled() and self.weight.requires_grad:
            return self._divide()
        weight = self.weight.detach()
        if self._cache is None or not torch.equal(self._cache[0], weight):
            self._cache = (weight.clone(), self._divide())
        return self._cache[1]

    def _divide(self) -> Tensor:
        bound = self.bound()
        return self.weight / bound.reshape(*bound.shape, *[1] * (self.weight.ndim - bound.ndim))

    def __getstate__(self) -> dict[str, Any]:
        # A copy need not carry it.
        return {**super().__getstate__(), "_cache": None}


class LipschitzLinear(_Normalized):
    """A dense layer with operator norm at most 1: ``[..., in] -> [..., out]``."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.orthogonal_(self.weight)

    def bound(self) -> Tensor:
        """Upper bound of the operator norm of the raw weight."""
        return gram_bound(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Applies the layer."""
        return F.linear(features, self.normalized(), self.bias)


class LipschitzHeads(_Normalized):
    """``heads`` dense layers side by side, each with operator norm at most 1 on its own.

    ``[B, in, ...] -> [B, heads, out, ...]``, the same at every position of a feature map.
    """

    def __init__(self, in_features: int, heads: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(heads, out_features))
        for weight in self.weight.unbind(0):
            nn.init.orthogonal_(weight)

    def bound(self) -> Tensor:
        """Upper bound of the operator norm of the raw weight."""
        return gram_bound(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Applies the layer."""
        return linear_heads(features, self.normalized(), self.bias)


def linear_heads(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Applies ``weight`` ``[heads, out, in]``, ``bias`` ``[heads, out]`` along axis 1, at every position.

    ``[B, in, ...] -> [B, heads, out, ...]``. One matrix product over channels-last positions, which on a CPU
    is twice as fast as a 1x1 convolution; the result is a view with channels last in memory.
    """
    out = F.linear(features.movedim(1, -1), weight.flatten(0, 1), bias.flatten()).unflatten(-1, bias.shape)
    return out.movedim((-2, -1), (1, 2))


def linear_per_sample(features: Tensor, weight: Tensor, bias: Tensor, choice: Tensor) -> Tensor:
    """Applies one of A dense layers to each sample, along axis 1: ``[B, in, ...] -> [B, out, ...]``.

    Args:
        weight, bias: ``[A, out, in]`` and ``[A, out]``.
        choice: the layer of each sample, ``[B]``.
    """
    positions = features.movedim(1, -1)
    flat = positions.reshape(len(features), -1, positions.shape[-1])
    out = torch.baddbmm(bias[choice].unsqueeze(1), flat, weight[choice].mT)
    return out.reshape(*positions.shape[:-1], -1).movedim(-1, 1)


class LipschitzConv2d(_Normalized):
    """A 2x2 convolution, stride 1, with operator norm at most 1, zero-padded at the right and lower edge, or, with
    ``before``, at the left and upper one.

    ``[B, in, H, W] -> [B, out, H, W]`` for the ``H x W`` it was built for.
    """

    def __init__(
        self, in_channels: int, out_channels: int, height: int, width: int, kernel: int = 2, before: bool = False
    ) -> None:
        super().__init__()
        self.size = (height, width)
        extra = kernel - 1
        self.zeros = (extra, 0, extra, 0) if before else (0, extra, 0, extra)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.orthogonal_(self.weight)

    def bound(self) -> Tensor:
        """Upper bound of the operator norm of the raw weight."""
        return conv_bound(self.weight, *self.size)

    def forward(self, maps: Tensor) -> Tensor:
        """Applies the layer."""
        assert maps.shape[-2:] == self.size, (maps.shape, self.size)
        return F.conv2d(F.pad(maps, self.zeros), self.normalized(), self.bias)


class GroupSort2(nn.Module):
    """Sorts channels in pairs (Anil et al. 2019), channel i with i + n/2: 1-Lipschitz, norm preserving.

    Args:
        dim: the channel axis; its size must be even.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, features: Tensor) -> Tensor:
        """Applies the layer."""
        first, second = features.chunk(2, self.dim)
        return torch.cat((torch.minimum(first, second), torch.maximum(first, second)), self.dim)
