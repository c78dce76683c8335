"""What every source of experience is: batches of N copies of the environment, acting by the learner's policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from dreamspi.errors import UserError
from dreamspi.generators import seed_everything
from dreamspi.replay import Replayable

#: Builds a batched environment of the given number of copies.
Maker = Callable[[int], EnvBase]


class Source(ABC):
    """Batches of experience.

    Args:
        options: the configuration's ``collector`` section.
        make_env: builds a batched training environment of the given number of copies.
        policy: acts; the learner changes its parameters between two batches. Workers have a copy of what is in it.
        num_envs: copies in all, N.
        num_steps: steps per copy and batch, T.
        device: where the policy lives and batches are stored; environments are on the CPU.
    """

    #: Whether all that is random is drawn in this process, so that recorded actions can be played back.
    replays = False
    #: Whether it plays on while the learner learns.
    overlaps = False
    #: Whether the policy has been updated once since it gathered the last batch.
    stale = False
    #: TorchRL's, one of several kinds, once it is built; and its batches.
    collector: Any = None
    batches: Iterator[TensorDictBase]

    def __init__(
        self,
        options: Mapping[str, Any],
        make_env: Maker,
        policy: Replayable,
        num_envs: int,
        num_steps: int,
        device: str,
    ) -> None:
        self.options, self.make_env, self.policy = options, make_env, policy
        self.num_envs, self.num_steps, self.device = num_envs, num_steps, device

    @abstractmethod
    def build(self, games: int, rest: int) -> None:
        """Makes environments and collector anew; ``games`` seeds the environments, ``rest`` everything else."""

    @abstractmethod
    def next(self) -> TensorDictBase:
        """The next batch, by the current policy unless ``stale``; its N * T steps lie in order of copy, then time."""

    def close(self) -> None:
        """Ends what ``build`` made, if it made anything."""
        if self.collector is not None:
            self.collector.shutdown()
            self.collector = None


class WithWorkers(Source):
    """What sources with workers have in common: each has an equal share of the copies, and a copy of the policy."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.workers: int = self.options["workers"]
        if self.num_envs % self.workers:
            raise UserError(f"collector.workers={self.workers}: must divide num_envs={self.num_envs}.")
        self.share = self.num_envs // self.workers

    def makers(self, seeds: np.random.SeedSequence) -> list[Callable[[], EnvBase]]:
        """For each worker, what it builds its environment with, from seeds that no worker before had."""
        pairs = [[int(word) for word in child.generate_state(2) >> 1] for child in seeds.spawn(self.workers)]
        return [partial(_seeded, self.make_env, self.share, *pair) for pair in pairs]


def _seeded(make_env: Maker, num_envs: int, games: int, rest: int) -> EnvBase:
    """In a worker: its environment, and the generators of its process, from seeds of its own."""
    seed_everything(rest)
    env = make_env(num_envs)
    env.set_seed(games)  # before the collector resets it: games begin once, not twice
    return env


def devices(device: str) -> dict[str, str]:
    """What a collector is told of devices: environments are on the CPU."""
    return {"policy_device": device, "storing_device": device, "env_device": "cpu"}
