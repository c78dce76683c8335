"""Real experience, an endless stream of batches, and how it survives a stop.

Emulators cannot be saved, but they are deterministic: their state is their seed and the actions since. A
checkpoint therefore holds the actions since the last *barrier*, and a resumed run replays them. At a barrier
the collector and its environments are built anew, seeded from (run seed, iteration), in every run alike, which
bounds how much there is to replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.data import TensorSpec
from torchrl.envs import EnvBase

from dreamspi.collectors import source
from dreamspi.envs.memory import carrying
from dreamspi.generators import seed_everything
from dreamspi.replay import Recording, Replayable, Stopped
from planners.optimization import drawing


def barrier_seeds(seed: int, iteration: int) -> tuple[int, int]:
    """Seeds of the stretch that begins after ``iteration``, in [0, 2**31): for the games, for everything else."""
    games, rest = np.random.SeedSequence([seed, iteration]).generate_state(2) >> 1
    return int(games), int(rest)


class Collection:
    """An endless stream of batches ``[N, T]``.

    Args:
        make_env: builds a batched training environment of the given number of copies.
        policy: the deployed policy; every batch is by its parameters of that moment, or, where ``stale``, of the
            moment when the batch before was handed out.
        num_envs: copies in all, N.
        num_steps: steps per copy and batch, T.
        seed: the run's seed.
        collector: where it is gathered: the configuration's section; see ``dreamspi.collectors``.
        device: where the policy lives and batches are stored; environments are on the CPU.
        memory: spec of what a recurrent policy carries from step to step; ``None`` for any other.
    """

    def __init__(
        self,
        make_env: Callable[[int], EnvBase],
        policy: TensorDictModuleBase,
        num_envs: int,
        num_steps: int,
        seed: int,
        collector: Mapping[str, Any],
        device: str = "cpu",
        memory: TensorSpec | None = None,
    ) -> None:
        self.num_envs, self.num_steps, self.seed = num_envs, num_steps, seed
        self.policy = Replayable(policy)
        self.source = source(collector, _Maker(make_env, memory), self.policy, num_envs, num_steps, device)
        self.actions: list[Tensor] = []
        self.memory: Tensor | None = None

    def barrier(self, iteration: int) -> None:
        """Builds environments and collector anew, and seeds everything from (seed, iteration)."""
        self.actions = []
        games, rest = barrier_seeds(self.seed, iteration)
        seed_everything(rest)
        self.source.build(games, rest)

    @property
    def replays(self) -> bool:
        """Whether a resumed run can go on in the midst of its games: workers sample with generators of their own,
        which cannot be restored, so that after a resume their games begin anew."""
        return self.source.replays

    @property
    def overlaps(self) -> bool:
        """Whether the next batch is played while the learner learns from the last."""
        return self.source.overlaps

    @property
    def stale(self) -> bool:
        """Whether the policy has been updated once since it gathered the last batch."""
        return self.source.stale

    def next(self) -> TensorDictBase:
        """The next batch ``[N, T]``."""
        with torch.no_grad(), drawing():
            batch = self.source.next()
        batch = batch.reshape(self.num_envs, self.num_steps)
        if self.replays:
            self.actions.append(batch["action"].to("cpu", torch.int16))
        memory = batch["next"].get("memory", None)
        self.memory = None if memory is None else memory[:, -1].clone()
        return batch

    def replay(self, recording: Recording, stop: Callable[[], bool]) -> None:
        """After a barrier, plays what was recorded; the environments end where they were.

        Where ``stop()`` becomes true it breaks off at once: then there is nothing left to do but ``close``.
        """
        self.policy.stop = stop
        try:
            for batch in recording.actions.long():
                self.policy.recorded.extend(batch.unbind(-1))
                self.policy.memory = recording.memory
                self.next()
        except Stopped:
            return

    def recorded(self) -> Recording:
        """What was played since the last barrier."""
        none = torch.zeros(0, self.num_envs, self.num_steps, dtype=torch.int16)
        return Recording(torch.stack(self.actions), self.memory) if self.actions else Recording(none)

    def close(self) -> None:
        """Shuts the collector and its environments down."""
        self.source.close()


class _Maker:
    """Builds environments that carry a memory, here or in a worker; a class because it crosses to other processes."""

    def __init__(self, make_env: Callable[[int], EnvBase], memory: TensorSpec | None) -> None:
        self.make_env, self.memory = make_env, memory

    def __call__(self, num_envs: int) -> EnvBase:
        return carrying(self.make_env(num_envs), self.memory)
