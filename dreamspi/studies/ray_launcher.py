"""A launcher for Ray in Hydra's interface.

Hydra's own Ray plugin can't be installed beside TorchRL: it asks for cloudpickle below 3, TensorDict for 3 and above.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class RayLauncher(Launcher):
    """Runs jobs as tasks of a Ray cluster.

    Args:
        address: of the cluster, as ``ray.init`` takes it.
        num_cpus: cores that a job claims.
        num_gpus: GPUs that a job claims; may be a fraction.
        max_retries: times that a job is begun again after its worker process or machine has died.
    """

    def __init__(self, address: str, num_cpus: float, num_gpus: float, max_retries: int) -> None:
        self.address = address
        self.resources: dict[str, Any] = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        import ray

        if not ray.is_initialized():
            ray.init(address=self.address, logging_level=logging.ERROR, log_to_driver=False)
        remote = ray.remote(**self.resources)(_run)
        state = Singleton.get_state()
        tasks = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id, config.hydra.job.num = str(number), number
            tasks.append(remote.remote(self.context, self.task, config, state))
        try:
            return ray.get(tasks)
        finally:
            ray.shutdown()


def _run(context: HydraContext, task: TaskFunction, config: DictConfig, state: object) -> JobReturn:
    setup_globals()
    Singleton.set_state(state)
    return run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
