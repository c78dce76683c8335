"""Experience gathered on this machine: in this process, or in workers."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.collectors import Collector
from torchrl.envs import EnvBase

from dreamspi.collectors.base import Source, WithWorkers, devices


class Direct(Source):
    """One collector in this process. It reads the learner's own parameters."""

    replays = True

    def build(self, games: int, rest: int) -> None:
        self.close()
        env = self.make_env(self.num_envs)
        env.set_seed(games)  # before the collector resets it: 128 Atari games begin once, not twice
        self.collector = Collector(
            env,
            self.policy,
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=-1,
            track_traj_ids=False,
            auto_register_policy_transforms=False,
            **devices(self.device),
        )
        torch.manual_seed(rest)
        self.batches = iter(self.collector)

    def next(self) -> TensorDictBase:
        return next(self.batches)


class Processes(WithWorkers):
    """Worker processes of this machine, in step with the learner."""

    def build(self, games: int, rest: int) -> None:
        self.close()
        self.collector = Collector(
            [partial(_deaf, make) for make in self.makers(np.random.SeedSequence([games, rest]))],
            self._player(),
            backend="process",
            sync=True,
            num_collectors=self.workers,
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=-1,
            auto_register_policy_transforms=False,
            **devices(self.device),
        )
        torch.manual_seed(rest)
        self.batches = iter(self.collector)

    def _player(self) -> TensorDictModuleBase:
        """The policy that workers play by. On the CPU they share its memory, so that they see each change at once."""
        return self.policy.policy

    def next(self) -> TensorDictBase:
        self.collector.update_policy_weights_()
        return next(self.batches)


class Overlapping(Processes):
    """Worker processes that play the next batch while the learner learns from this one.

    The policy that plays is therefore the one before the last update, except in the first batch after ``build``. It is
    sent at fixed places in the order of batches, so what is learnt does not depend on who is faster.
    """

    overlaps = True
    coming: Future[TensorDictBase] | None = None

    def build(self, games: int, rest: int) -> None:
        super().build(games, rest)
        self.helper = ThreadPoolExecutor(1)

    def _player(self) -> TensorDictModuleBase:
        """A copy, which stands still while the learner's changes."""
        self.player = deepcopy(self.policy.policy)
        return self.player

    def next(self) -> TensorDictBase:
        self.stale = self.coming is not None
        self.coming = self.coming or self._ask()
        batch = self.coming.result()
        self.coming = self._ask()
        return batch

    def _ask(self) -> Future[TensorDictBase]:
        """Sends the workers off with the policy as it is; called while they are idle."""
        self.player.load_state_dict(self.policy.policy.state_dict())
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)  # workers read the same memory
        self.collector.update_policy_weights_()
        return self.helper.submit(next, self.batches)

    def close(self) -> None:
        """Waits for the batch that is being played, which nobody will learn from."""
        try:
            if self.coming is not None:
                wait([self.coming])
        finally:  # also where Ctrl-C ends the wait
            if self.coming is not None:
                self.helper.shutdown(wait=False)
                self.coming = None
            super().close()


def _deaf(make: Callable[[], EnvBase]) -> EnvBase:
    """Ctrl-C reaches the whole process group; the learner decides when its workers stop."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make()
