"""Experience gathered on the workers of a Ray cluster."""

from __future__ import annotations

import sys
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase

from dreamspi.collectors.base import WithWorkers, devices
from dreamspi.errors import UserError
from dreamspi.ray_cluster import connect

#: Times in a row that workers may be lost before they have gathered a batch.
ATTEMPTS = 3


class OnRay(WithWorkers):
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
        self.collector = RayCollector(
            self.makers(self.seeds),
            _on_cpu(self.policy.policy),
            sync=True,
            num_collectors=self.workers,
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=sys.maxsize,  # it takes -1 for the end, unlike other collectors
            collector_kwargs=[{"auto_register_policy_transforms": False}] * self.workers,
            remote_configs=[
                {"num_cpus": cpus, "scheduling_strategy": PlacementGroupSchedulingStrategy(self.group, index)}
                for index in range(self.workers)
            ],
            weight_sync_schemes={},
            **devices("cpu"),
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


def _on_cpu(policy: TensorDictModuleBase) -> TensorDictModuleBase:
    return policy if all(tensor.device.type == "cpu" for tensor in policy.parameters()) else deepcopy(policy).cpu()
