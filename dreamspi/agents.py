"""A trained agent again, from its run directory: for the commands that look at one, and for programs of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig
from torchrl.envs import EnvBase

from dreamspi.building import make_env, make_planner
from dreamspi.checkpoints import CheckpointStore, Damaged, load
from dreamspi.config import check_device_name
from dreamspi.config import load as load_config
from dreamspi.envs.memory import carrying
from dreamspi.errors import UserError, did_you_mean
from planners.planner import Planner


class Trained(NamedTuple):
    """An agent at a checkpoint, and an environment for it.

    Attributes:
        config: of its run.
        env: TorchRL environment of ``num_envs`` copies, not reset: a ``VectorEnv``, or one in a transform that carries
            what a recurrent model remembers from step to step.
        planner: ``planner.policy`` adds an action to a TensorDict that the environment made, ``planner.encode`` and
            ``planner.probabilities`` map such TensorDicts ``[...]`` to latents and to probabilities
            ``[..., actions]``, ``planner.agent.world_model`` is what it knows of the world.
        checkpoint: where it comes from.
        step: environment steps that it had taken.
    """

    config: DictConfig
    env: EnvBase
    planner: Planner
    checkpoint: Path
    step: int


def load_agent(
    run: str | Path, checkpoint: str = "newest", num_envs: int = 1, training: bool = False, device: str = "cpu"
) -> Trained:
    """The agent of a run directory.

    Args:
        run: the run directory.
        checkpoint: ``newest``, ``best`` (by training return), or a path.
        num_envs: copies of its environment.
        training: the environment as the learner saw it, or (``False``) whole games that can be rendered.
        device: where its networks live.

    Raises:
        UserError: no such run, checkpoint or device, or none that is whole.
    """
    check_device_name(device)
    config = load_config(Path(run))
    config.device = device
    env = make_env(config, num_envs, training)
    planner = make_planner(config, env)
    path, info = restore(planner, Path(run), checkpoint)
    return Trained(config, carrying(env, planner.memory_spec), planner, path, info["step"])


def restore(planner: Planner, run: Path, which: str) -> tuple[Path, dict[str, Any]]:
    """Loads a checkpoint's agent into ``planner``; returns the checkpoint's path and facts.

    A damaged one is skipped with a warning, but for one that was named by its path.

    Raises:
        UserError: no such checkpoint, or none that is whole.
    """
    store = CheckpointStore(run / "checkpoints", keep=1, best_metric="return")
    named = {"newest": store.load_newest, "best": store.load_best}
    if which in named:
        return named[which]({"planner": planner})
    try:
        return Path(which), load(Path(which), {"planner": planner})
    except Damaged as error:
        said = str(error).removeprefix(f"{which}: ")
        near = "" if Path(which).exists() else did_you_mean(which, [*named, *map(str, store.paths())])
        raise UserError(f"checkpoint={which}: {said}{near} Allowed: newest, best, or the path of one.") from error
