"""World models whose latents depend on the past: what an observation leaves out, a memory carries.

The memory after a step is a function of that step's latent and action, so that a latent is still all that a
planner needs to dream on. Experience holds the memory with which each step was taken; where latents are
learnt from, it is taken as given at a segment's first step and carried on from there, with gradient, by the
parameters as they now are (truncated backpropagation through time, as in R2D2's stored state, Kapturowski et
al. 2019).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import TensorSpec

from world_models.contract import WorldModel
from world_models.segments import encode_transitions


class RecurrentModel(WorldModel):
    """A world model with a memory: subclasses give ``embed``, ``infer`` and ``remember``, and set ``memory_spec``.

    An episode begins with a memory of zeros.
    """

    in_keys: Sequence[str] = ("observation", "memory")
    memory_spec: TensorSpec

    @abstractmethod
    def embed(self, observation: Tensor) -> Tensor:
        """What one observation tells by itself, ``[..., *embedding_shape]``: the part that needs no memory."""

    @abstractmethod
    def infer(self, embedding: Tensor, memory: Tensor) -> Tensor:
        """The latent ``[..., *latent_shape]`` from an embedding and the memory before it."""

    @abstractmethod
    def remember(self, latent: Tensor, action: Tensor) -> Tensor:
        """The memory ``[..., *memory_shape]`` after a step."""

    def encode(self, observation: Tensor, memory: Tensor | None = None) -> Tensor:
        """``z = phi(s, m)``, ``[..., *latent_shape]``; without a memory, as at an episode's beginning."""
        embedding = self.embed(observation)
        if memory is None:
            batch = observation.shape[: observation.ndim - len(self.observation_spec.shape)]
            memory = embedding.new_zeros(*batch, *self.memory_spec.shape)
        return self.infer(embedding, memory)

    def latents(self, experience: TensorDictBase) -> Tensor:
        """``z`` of segments ``[S, L]``, carried on from the memory of their first step."""
        return self._carry_on(experience, *self._twice(self.embed(experience["observation"])))[0]

    def believe(self, experience: TensorDictBase) -> tuple[Tensor, Tensor]:
        """``z`` and ``z'`` of segments ``[S, L]``, carried on from the memory of their first step."""
        after = experience["next"]
        frames = experience["observation"], after["observation"], after["done"].squeeze(-1)
        return self._carry_on(experience, *encode_transitions(self.embed, self.embed, *frames))

    @staticmethod
    def _twice(embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings with those of the next step, where it is in the segment: of the last nothing follows."""
        return embedding, torch.cat((embedding[:, 1:], embedding[:, -1:]), 1)

    def _carry_on(self, experience: TensorDictBase, embedding: Tensor, next_embedding: Tensor) -> tuple[Tensor, Tensor]:
        action, done = experience["action"], experience["next", "done"].squeeze(-1)
        memory = experience["memory"]
        afresh = self.infer(embedding, torch.zeros_like(memory))
        latents, next_latents = [self.infer(embedding[:, 0], memory[:, 0])], []
        for step in range(action.shape[1]):
            next_latents.append(self.infer(next_embedding[:, step], self.remember(latents[-1], action[:, step])))
            if step + 1 < action.shape[1]:
                begun = done[:, step].view(-1, *[1] * (afresh.ndim - 2))
                latents.append(torch.where(begun, afresh[:, step + 1], next_latents[-1]))
        return torch.stack(latents, 1), torch.stack(next_latents, 1)
