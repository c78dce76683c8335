"""Where experience is gathered: in this process, in worker processes of this machine, on the workers of a Ray cluster.

Each is a ``Source``, and all do the same: N copies of the environment, in step with the learner, acting by its current
policy. ``Collection`` knows nothing else of them.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.collectors import Collector
from torchrl.envs import EnvBase

from dreamspi.errors import UserError, unknown
from dreamspi.ray_cluster import connect
from dreamspi.replay import Replayable

#: Builds a batched environment of the given number of copies.
Maker = Callable[[int], EnvBase]
#: Times in a row that workers may be lost before they have gathered a batch.
ATTEMPTS = 3


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
        """The next batch by the current policy; its N * T steps lie in order of copy, then time."""

    def close(self) -> None:
        """Ends what ``build`` made, if it made anything."""
        if self.collector is not None:
            self.collector.shutdown()
            self.collector = None


class Direct(Source):
    """One collector in this process. It reads the learner's own parameters."""

    replays = True

    def build(self, games: int, rest: int) -> None:
        self.close()
        self.collector = Collector(
            self.make_env(self.num_envs),
            self.policy,
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=-1,
            track_traj_ids=False,
            auto_register_policy_transforms=False,
            **_devices(self.device),
        )
        self.collector.set_seed(games)
        self.collector.reset()
        torch.manual_seed(rest)
        self.batches = iter(self.collector)

    def next(self) -> TensorDictBase:
        return next(self.batches)


class _Shared(Source):
    """What sources with workers have in common: each has an equal share of the copies, and a copy of the policy."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.workers: int = self.options["workers"]
        if self.workers < 1 or self.num_envs % self.workers:
            raise UserError(
                f"collector.workers={self.workers}: must be at least 1 and divide num_envs={self.num_envs}."
            )
        self.share = self.num_envs // self.workers


class Processes(_Shared):
    """Worker processes of this machine, in step with the learner."""

    def build(self, games: int, rest: int) -> None:
        self.close()
        self.collector = Collector(
            [partial(_deaf, self.make_env, self.share) for _ in range(self.workers)],
            self.policy.policy,
            backend="process",
            sync=True,
            num_collectors=self.workers,
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=-1,
            auto_register_policy_transforms=False,
            **_devices(self.device),
        )
        self.collector.set_seed(games)  # resets them too
        torch.manual_seed(rest)
        self.batches = iter(self.collector)

    def next(self) -> TensorDictBase:
        self.collector.update_policy_weights_()
        return next(self.batches)


class OnRay(_Shared):
    """Workers of a Ray cluster, in step with the learner; each is an actor on CPUs.

    All of them find room at once or none does, so that two trainings can't each wait for what the other holds.
    Weights travel through Ray's object store: TorchRL's own way opens connections to the address that the learner's
    machine has for its host name, which is often one that only that machine can reach.

    When a worker is lost, with its machine or without, all workers are made anew as soon as there is room, their games
    begin anew, and the training goes on.
    """

    group: Any = None

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.ray = connect(self.options["address"])
        self.seeds = np.random.SeedSequence()

    def build(self, games: int, rest: int) -> None:
        self.seeds = np.random.SeedSequence([games, rest])
        self._build()
        torch.manual_seed(rest)

    def _build(self) -> None:
        """Workers with seeds that none before them had."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
        from torchrl.collectors.distributed import RayCollector

        self.close()
        self._claim()
        cpus = self.options["cpus"]
        seeds = [[int(word) for word in child.generate_state(2) >> 1] for child in self.seeds.spawn(self.workers)]
        self.collector = RayCollector(
            [partial(_seeded, self.make_env, self.share, *pair) for pair in seeds],
            _on_cpu(self.policy.policy),
            sync=True,
            num_collectors=self.workers,
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=sys.maxsize,  # it takes -1 for the end, unlike other collectors
            collector_kwargs=[{"auto_register_policy_transforms": False} for _ in seeds],
            remote_configs=[
                {"num_cpus": cpus, "scheduling_strategy": PlacementGroupSchedulingStrategy(self.group, index)}
                for index in range(self.workers)
            ],
            weight_sync_schemes={},
            **_devices("cpu"),
        )
        self.batches = iter(self.collector)

    def _claim(self) -> None:
        """Waits for room for all workers."""
        cpus, patience = self.options["cpus"], self.options["patience"]
        self.group = self.ray.util.placement_group([{"CPU": cpus}] * self.workers, strategy="SPREAD")
        if not self.group.wait(timeout_seconds=patience):
            free = self.ray.available_resources().get("CPU", 0)
            whole = self.ray.cluster_resources().get("CPU", 0)
            self.close()
            raise UserError(
                f"collector.workers={self.workers}: the Ray cluster had no room for as many workers of "
                f"collector.cpus={cpus} within collector.patience={patience} seconds; {free:g} of its {whole:g} CPUs "
                "are free."
            )

    def next(self) -> TensorDictBase:
        lost: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                if lost is not None:
                    self._build()
                return self._next()
            except (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError) as error:
                lost = error
            said = str(lost).splitlines()[0]
            warnings.warn(f"a Ray worker was lost ({said}); the workers and their games begin anew.", stacklevel=2)
        raise UserError(f"Ray workers are lost again and again, {ATTEMPTS} times in a row: {lost}") from lost

    def _next(self) -> TensorDictBase:
        weights = self.ray.put(TensorDict.from_module(self.policy.policy).data.cpu())
        self.ray.get([worker.update_policy_weights_.remote(weights) for worker in self.collector.remote_collectors])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="RayCollector iteration started before weight synchronization")
            return next(self.batches).to(self.device)

    def close(self) -> None:
        super().close()
        if self.group is not None:
            self.ray.util.remove_placement_group(self.group)
            self.group = None


#: By the value of ``collector.backend``.
SOURCES: dict[str, type[Source]] = {"direct": Direct, "process": Processes, "ray": OnRay}


def source(options: Mapping[str, Any], make_env: Maker, policy: Replayable, *shape: Any) -> Source:
    """The source that the configuration's ``collector`` section chooses; see ``Source`` for the other arguments."""
    name = options["backend"]
    if name not in SOURCES:
        raise unknown("collector.backend", name, SOURCES)
    return SOURCES[name](options, make_env, policy, *shape)


def _on_cpu(policy: TensorDictModuleBase) -> TensorDictModuleBase:
    return policy if all(tensor.device.type == "cpu" for tensor in policy.parameters()) else deepcopy(policy).cpu()


def _devices(device: str) -> dict[str, str]:
    return {"policy_device": device, "storing_device": device, "env_device": "cpu"}


def _deaf(make_env: Maker, num_envs: int) -> EnvBase:
    """Ctrl-C reaches the whole process group; the learner decides when its workers stop."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make_env(num_envs)


def _seeded(make_env: Maker, num_envs: int, games: int, rest: int) -> EnvBase:
    """In a Ray worker: its environment, and the generators of its process, from seeds of its own."""
    random.seed(rest)
    np.random.seed(rest)
    torch.manual_seed(rest)
    env = make_env(num_envs)
    env.set_seed(games)
    return env
