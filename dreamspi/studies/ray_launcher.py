"""A launcher for Ray in Hydra's interface.

Hydra's own Ray plugin can't be installed beside TorchRL: it asks for cloudpickle below 3, TensorDict for 3 and above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from dreamspi.ray_cluster import connect
from dreamspi.studies.store import Study

#: Seconds between two looks at the file that stops a study.
PERIOD = 0.5


class RayLauncher(Launcher):
    """Runs the cells of a study as tasks of a Ray cluster.

    Args:
        address: of the cluster; see ``connect``.
        num_cpus: cores that a job claims.
        num_gpus: GPUs that a job claims; may be a fraction.
        max_retries: times that a job is begun again after its worker process or machine has died.
    """

    def __init__(self, address: str, num_cpus: float, num_gpus: float, max_retries: int) -> None:
        self.address = address
        self.resources: dict[str, Any] = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}

    def ready(self) -> None:
        """Raises ``UserError`` unless there is a cluster."""
        connect(self.address)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        ray = connect(self.address)
        remote = ray.remote(**self.resources)(_run)
        state = Singleton.get_state()
        tasks: dict[Any, str] = {}
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id, config.hydra.job.num = str(number), number
            tasks[remote.remote(self.context, self.task, config, state)] = config.cell
        try:
            self._wait(ray, tasks)
            return [_result(ray, task) for task in tasks]
        finally:
            ray.shutdown()

    def _wait(self, ray: Any, tasks: dict[Any, str]) -> None:
        """Returns when all tasks have ended. Once the study is to stop, those that wait for room are cancelled."""
        study = Study.open(self.config.path)
        waiting = list(tasks)
        while waiting:
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=PERIOD)
            if study.stop.exists():
                # A task that begins now finds the file before it trains, so none is broken off in a training.
                for task in [task for task in waiting if not study.is_locked(tasks[task])]:
                    ray.cancel(task)


def _result(ray: Any, task: Any) -> JobReturn:
    """Of a task that has ended, however it did: one that was lost takes no other with it."""
    try:
        return ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return JobReturn(status=JobStatus.UNKNOWN)
    except ray.exceptions.RayError as error:
        lost = JobReturn(status=JobStatus.FAILED)
        lost.return_value = error
        return lost


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
