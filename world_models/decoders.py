"""From latents back to observations, for models that are trained to reconstruct, and for looking into a dream."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torchrl.modules import DreamerV3ImageDecoder, DreamerV3MLP

from world_models.encoders import Encoder
from world_models.shapes import fold_batch

#: What a decoder needs of an encoder, beside its latents.
ENCODER_MEMBERS = ("observation_shape", "prepared_shape", "prepare", "restore")


class Decoder(nn.Module):
    """Predicts the observation as an encoder prepares it: scaled pictures, symlog vectors, one-hot integers.

    Pictures with even sides grow from a small map by DreamerV3's transposed convolutions, the side doubling twice
    where it can; everything else comes from one hidden layer.

    Args:
        latent_shape: shape of one latent.
        encoder: whose ``prepare`` gives the target, and whose ``restore`` turns a prediction into an observation.
        weight: of the reconstruction loss, on top of the local losses.
        depth: channels of the largest map, or a sixteenth of the hidden layer's width.
    """

    def __init__(self, latent_shape: Sequence[int], encoder: Encoder, weight: float = 1.0, depth: int = 16) -> None:
        super().__init__()
        if weight <= 0 or depth < 1:
            raise ValueError(f"world_model.decoder: weight={weight} must be above 0 and depth={depth} at least 1")
        lacks = [name for name in ENCODER_MEMBERS if not hasattr(encoder, name)]
        if lacks:
            raise ValueError(
                f"world_model.decoder={type(self).__name__}: needs {', '.join(ENCODER_MEMBERS)} of the encoder, as in "
                f"world_models.encoders.Encoder; {type(encoder).__name__} lacks {', '.join(lacks)}. "
                "world_model.decoder=null does without."
            )
        self.weight, self.latent_dims = weight, len(latent_shape)
        self.shape = encoder.prepared_shape
        self.observation_dims = len(encoder.observation_shape)
        features = math.prod(latent_shape)
        # Not registered as a child: its parameters are the encoder's, not the model's.
        self._prepare, self._restore = encoder.prepare, encoder.restore
        doublings = _doublings(self.shape)
        if doublings:
            multiples = (1, 2, 4)[:doublings]
            self.body: nn.Module = DreamerV3ImageDecoder(features, self.shape, depth, multiples, num_blocks=1)
        else:
            self.body = DreamerV3MLP(features, math.prod(self.shape), depth=1, num_cells=16 * depth)

    def forward(self, latent: Tensor) -> Tensor:
        """Prepared observations ``[..., *prepared_shape]``."""
        folded, batch = fold_batch(latent, self.latent_dims)
        return self.body(folded.flatten(1)).reshape(*batch, *self.shape)

    def loss(self, latent: Tensor, observation: Tensor) -> Tensor:
        """Weighted squared error, a mean over the observation's numbers: ``[...]``."""
        folded, batch = fold_batch(observation, self.observation_dims)
        error = (self(latent).reshape(len(folded), -1) - self._prepare(folded).flatten(1)).square()
        return self.weight * error.mean(-1).reshape(batch)

    def observation(self, latent: Tensor) -> Tensor:
        """Observations ``[..., *observation_shape]``, float, in the units of the environment."""
        folded, batch = fold_batch(self(latent), len(self.shape))
        observation = self._restore(folded)
        return observation.reshape((*batch, *observation.shape[1:]))


def _doublings(shape: Sequence[int]) -> int:
    """How often a picture's sides can be halved, at most twice; 0 for everything else."""
    if len(shape) != 3:
        return 0
    return next((n for n in (2, 1) if shape[1] % 2**n == shape[2] % 2**n == 0), 0)
