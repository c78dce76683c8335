"""The dream as a TorchRL environment, so that a world model works in anybody's TorchRL program.

``planners.imagination.imagine`` is the same walk as a direct loop, which skips the bookkeeping of ``EnvBase``; a test
holds the two equal.
"""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from world_models.contract import WorldModel


class DreamEnv(EnvBase):
    """A batch of dreams. Observations are latents, under the key ``latent``.

    Args:
        world_model: what dreams.
        start: latents ``[M, *latent_shape]`` in which every episode starts; a reset of dream ``m`` returns to
            ``start[m]``.
    """

    def __init__(self, world_model: WorldModel, start: Tensor) -> None:
        super().__init__(device=start.device, batch_size=start.shape[:1])
        self.world_model, self.start = world_model, start
        batch = self.batch_size
        self.observation_spec = Composite(latent=Unbounded(shape=start.shape, dtype=start.dtype), shape=batch)
        self.action_spec = Categorical(world_model.num_actions, shape=batch, dtype=torch.int64)
        self.reward_spec = Unbounded(shape=(*batch, 1))
        flag = Binary(n=1, shape=(*batch, 1), dtype=torch.bool)
        self.full_done_spec = Composite(done=flag, terminated=flag.clone(), shape=batch)

    def _reset(self, tensordict: TensorDictBase | None) -> TensorDictBase:
        del tensordict  # which of the dreams are reset: ``EnvBase`` leaves the others where they are
        flag = torch.zeros(*self.batch_size, 1, dtype=torch.bool, device=self.device)
        return TensorDict({"latent": self.start.clone(), "done": flag, "terminated": flag.clone()}, self.batch_size)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        step = self.world_model.imagine(tensordict["latent"], tensordict["action"])
        terminated = torch.bernoulli(step.termination).bool().unsqueeze(-1)
        return TensorDict(
            {
                "latent": step.next_latent,
                "reward": step.reward.unsqueeze(-1),
                "done": terminated,
                "terminated": terminated.clone(),
            },
            self.batch_size,
        )

    def _set_seed(self, seed: int | None) -> None:
        """Dreams draw from torch's global generator, which ``EnvBase.set_seed`` has seeded."""
