"""Real experience: TorchRL's collector over one batched environment, and how it survives a stop.

Emulators cannot be saved, but they are deterministic: their state is their seed and the actions since. A
checkpoint therefore holds the actions since the last *barrier*, and a resumed run replays them. At a barrier
the collector and its environments are built anew, seeded from (run seed, iteration), in every run alike, which
bounds how much there is to replay.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.collectors import Collector
from torchrl.data import TensorSpec
from torchrl.envs import EnvBase

from dreamspi.envs.memory import carrying
from dreamspi.errors import UserError, unknown

BACKENDS = ("direct", "process")


class Stopped(Exception):
    """A replay was broken off."""


class Recording:
    """What was played since the last barrier; a component of a checkpoint.

    Args:
        actions: ``[I, N, T]`` int16, of I batches.
        memory: ``[N, *memory_shape]``, what a recurrent policy wrote for the step after the last of them; ``None`` for
            any other.
    """

    def __init__(self, actions: Tensor, memory: Tensor | None = None) -> None:
        self.actions, self.memory = actions, memory

    def state_dict(self) -> dict[str, Tensor | None]:
        """Both by name."""
        return {"actions": self.actions, "memory": self.memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.actions, self.memory = state["actions"], state["memory"]


class Replayable(TensorDictModuleBase):
    """A policy that first plays back recorded actions, if there are any, and then acts by itself.

    A replay runs no network but once: of what else the policy would have written, only the last memory is of use.
    ``stop`` is asked before each of its steps whether to go on, as a batch of slow games can take seconds.
    """

    def __init__(self, policy: TensorDictModuleBase) -> None:
        super().__init__()
        self.policy = policy
        self.in_keys, self.out_keys = policy.in_keys, policy.out_keys
        self.recorded: deque[Tensor] = deque()
        self.memory: Tensor | None = None
        self.stop: Callable[[], bool] = lambda: False
        self._filling: TensorDictBase | None = None

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Observation to action; see ``Agent.policy`` for the keys."""
        if not self.recorded:
            self._filling = None
            return self.policy(tensordict)
        if self.stop():
            raise Stopped
        if self._filling is None:
            self._filling = self.policy(tensordict.copy()).select(*self.out_keys)
        tensordict.update(self._filling).set("action", self.recorded.popleft())
        if not self.recorded and self.memory is not None:
            tensordict["next", "memory"] = self.memory
        return tensordict


def barrier_seeds(seed: int, iteration: int) -> tuple[int, int]:
    """Seeds of the stretch that begins after ``iteration``, in [0, 2**31): for the games, for everything else."""
    games, rest = np.random.SeedSequence([seed, iteration]).generate_state(2) >> 1
    return int(games), int(rest)


class Collection:
    """An endless stream of batches ``[N, T]``.

    Args:
        make_env: builds a batched training environment of the given number of copies.
        policy: the deployed policy; the collector reads the learner's own parameters (direct), or a copy that
            is refreshed before each batch (process).
        num_envs: copies in all, N.
        num_steps: steps per copy and batch, T.
        seed: the run's seed.
        backend: ``direct`` (in this process) or ``process`` (worker processes, in step with the learner).
        workers: worker processes of the ``process`` backend; divides ``num_envs``.
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
        backend: str,
        workers: int,
        device: str = "cpu",
        memory: TensorSpec | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise unknown("collector.backend", backend, BACKENDS)
        if backend == "process" and (workers < 1 or num_envs % workers):
            raise UserError(f"collector.workers={workers}: must be at least 1 and divide num_envs={num_envs}.")
        self.make_env, self.policy = _Maker(make_env, memory), Replayable(policy)
        self.num_envs, self.num_steps, self.seed = num_envs, num_steps, seed
        self.backend, self.workers = backend, workers
        self.devices = {"policy_device": device, "storing_device": device, "env_device": "cpu"}
        self.actions: list[Tensor] = []
        self.memory: Tensor | None = None
        self._collector: Collector | None = None
        self._batches: Iterator[TensorDictBase] = iter(())

    def barrier(self, iteration: int) -> None:
        """Builds environments and collector anew, and seeds everything from (seed, iteration)."""
        self.close()
        self.actions = []
        games, rest = barrier_seeds(self.seed, iteration)
        random.seed(rest)  # some Gymnasium environments draw from the global generators
        np.random.seed(rest)
        self._collector = self._build()
        self._collector.set_seed(games)
        if self.backend == "direct":  # worker processes are reset by set_seed itself
            self._collector.reset()
        torch.manual_seed(rest)
        self._batches = iter(self._collector)

    def _build(self) -> Collector:
        frames = self.num_envs * self.num_steps
        if self.backend == "direct":
            return Collector(
                self.make_env(self.num_envs),
                self.policy,
                frames_per_batch=frames,
                total_frames=-1,
                track_traj_ids=False,
                auto_register_policy_transforms=False,
                **self.devices,
            )
        share = self.num_envs // self.workers
        return Collector(
            [partial(self.make_env, share) for _ in range(self.workers)],
            self.policy.policy,
            backend="process",
            sync=True,
            num_collectors=self.workers,
            frames_per_batch=frames,
            total_frames=-1,
            auto_register_policy_transforms=False,
            **self.devices,
        )

    @property
    def replays(self) -> bool:
        """Whether a resumed run can go on in the midst of its games: worker processes sample with generators of
        their own, which cannot be restored, so that after a resume their games begin anew."""
        return self.backend == "direct"

    def next(self) -> TensorDictBase:
        """The next batch ``[N, T]`` of the current policy."""
        assert self._collector is not None, "a barrier comes before the first batch"
        if self.backend == "process":
            self._collector.update_policy_weights_()
        with torch.no_grad():
            batch = next(self._batches)
        batch = batch.reshape(self.num_envs, self.num_steps)
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
        if self._collector is not None:
            self._collector.shutdown()
            self._collector = None


class _Maker:
    """Builds environments that carry a memory, here or in a worker; a class because it crosses to other processes."""

    def __init__(self, make_env: Callable[[int], EnvBase], memory: TensorSpec | None) -> None:
        self.make_env, self.memory = make_env, memory

    def __call__(self, num_envs: int) -> EnvBase:
        # Ctrl-C reaches the whole process group; the learner decides when its workers stop.
        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return carrying(self.make_env(num_envs), self.memory)
