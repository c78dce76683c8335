"""Transition networks on tokens, for one-hot latents: one token per variable, and one for the action.

All next variables are predicted at once, each from the output at its own token: ``P̄`` stays a product over
variables, given ``(z, a)``, and a dream needs one pass a step, where drawing one variable after the other
(autoregression) would need as many as there are variables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from world_models.names import at_least
from world_models.shapes import fold_batch
from world_models.transition import LocationScale, Network


class TokenNetwork(Network):
    """Embeds, mixes (``mix``, a subclass's) and reads out tokens; the logits are the location of one component.

    The embedding of a variable is a product with its one-hot, not a look-up: through it the gradient reaches the
    encoder.

    Args:
        latent_shape: ``(variables, classes)``.
        num_actions, components, with_scale: as for every ``Network``; a token network has one component, no scale.
        width: size of a token.
    """

    def __init__(
        self, latent_shape: Sequence[int], num_actions: int, components: int, with_scale: bool, width: int
    ) -> None:
        super().__init__(latent_shape, components, with_scale)
        if len(latent_shape) != 2 or components != 1 or with_scale:
            raise ValueError(
                f"world_model.network={type(self).__name__}: for latents of several one-hot variables "
                f"(world_model=categorical), not {list(latent_shape)}."
            )
        at_least("world_model.network.width", width, 1)
        variables, classes = latent_shape
        self.embedding = nn.Linear(classes, width, bias=False)
        nn.init.normal_(self.embedding.weight)  # one row of it, not a sum of many, is what a token holds
        self.position = nn.Parameter(torch.randn(variables, width))
        self.action = nn.Embedding(num_actions, width)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes)

    def mix(self, tokens: Tensor) -> Tensor:
        """Tokens ``[B, 1 + variables, width]`` to the same: the action's first, then the variables'."""
        raise NotImplementedError

    def forward(self, latent: Tensor, action: Tensor) -> LocationScale:
        """Logits of the next variables, ``[..., 1, variables, classes]``."""
        folded, batch = fold_batch(latent, 2)
        variables = self.embedding(folded) + self.position
        tokens = torch.cat((self.action(action.reshape(-1, 1)), variables), 1)
        logits = self.output(self.norm(self.mix(tokens)[:, 1:]))
        return self._unfold(logits, None, batch)


class TransformerNetwork(TokenNetwork):
    """Self-attention in which every token sees all others (Vaswani et al. 2017; layer norms first).

    Args:
        layers: number of blocks of attention and feed-forward layer.
        heads: attention heads, a divisor of ``width``. The feed-forward layers are twice ``width`` wide.
            Further arguments: ``TokenNetwork``.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_actions: int,
        components: int = 1,
        with_scale: bool = False,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__(latent_shape, num_actions, components, with_scale, width)
        at_least("world_model.network.layers", layers, 1)
        at_least("world_model.network.heads", heads, 1)
        if width % heads:
            raise ValueError(f"world_model.network.heads={heads}: must divide world_model.network.width={width}.")
        block = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)

    def mix(self, tokens: Tensor) -> Tensor:
        """See ``TokenNetwork``."""
        return self.attend(tokens)

    def attend(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Runs the blocks; under a causal ``mask`` no token sees those after it."""
        # Fused kernels have no second derivative, which penalties ask for, and other roundings: one for all calls.
        with sdpa_kernel(SDPBackend.MATH):
            return self.blocks(tokens, mask=mask, is_causal=mask is not None)


class CausalTransformerNetwork(TransformerNetwork):
    """The paper's: a token sees itself and those before it, the action first of all.

    So ``z'_i`` depends on ``(a, z_1, ..., z_i)`` alone: the encoder is to order what it tells, from what moves by
    itself to what depends on everything. Without the order, ``TransformerNetwork``.
    """

    def mix(self, tokens: Tensor) -> Tensor:
        """See ``TokenNetwork``."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], tokens.device, tokens.dtype)
        return self.attend(tokens, mask)


class SoftMoE(nn.Module):
    """A soft mixture of experts (Puigcerver et al. 2023, arXiv 2308.00951): ``[B, tokens, width]`` to the same.

    Each slot is a softmax-weighted mean of all tokens (dispatch), its expert a small network on its slots, and
    each token a softmax-weighted mean of what all slots became (combine). Nothing is dropped, all is differentiable,
    and the means over tokens are what mixes them.

    Args:
        width: size of a token.
        experts: number of networks, each of one hidden layer twice as wide.
        slots: slots of each expert.
    """

    def __init__(self, width: int, experts: int, slots: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(width, experts, slots) / math.sqrt(width))
        self.inward = nn.Parameter(torch.randn(experts, width, 2 * width) / math.sqrt(width))
        self.outward = nn.Parameter(torch.randn(experts, 2 * width, width) / math.sqrt(2 * width))
        self.bias = nn.Parameter(torch.zeros(experts, 1, 2 * width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Applies the layer; tokens should be normalized."""
        logits = tokens @ self.slots.flatten(1)
        dispatch, combine = logits.softmax(-2), logits.softmax(-1)
        slots = (dispatch.mT @ tokens).unflatten(1, self.slots.shape[1:])  # [B, experts, slots, width]
        # Experts in front: each is one product with all its slots, where a broadcast one would copy weights B times.
        by_expert = slots.transpose(0, 1).flatten(1, 2)
        hidden = F.gelu(torch.baddbmm(self.bias, by_expert, self.inward))
        outputs = (hidden @ self.outward).unflatten(1, slots.shape[::2]).transpose(0, 1)
        return combine @ outputs.flatten(1, 2)


class SoftMoENetwork(TokenNetwork):
    """Blocks of Soft-MoE layers, each added to its normalized input: no attention, the slots mix the tokens.

    Args:
        layers: number of blocks.
        experts, slots: of each ``SoftMoE``. Further arguments: ``TokenNetwork``.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_actions: int,
        components: int = 1,
        with_scale: bool = False,
        width: int = 64,
        layers: int = 2,
        experts: int = 4,
        slots: int = 4,
    ) -> None:
        super().__init__(latent_shape, num_actions, components, with_scale, width)
        for key, number in (("layers", layers), ("experts", experts), ("slots", slots)):
            at_least(f"world_model.network.{key}", number, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.blocks = nn.ModuleList(SoftMoE(width, experts, slots) for _ in range(layers))

    def mix(self, tokens: Tensor) -> Tensor:
        """See ``TokenNetwork``."""
        for norm, block in zip(self.norms, self.blocks, strict=True):
            tokens = tokens + block(norm(tokens))
        return tokens
