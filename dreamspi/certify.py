"""``dreamspi certify``: what the theory promises of a trained agent's next dream, in numbers, on fresh games."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig
from tensordict import TensorDictBase

from dreamspi.agents import restore
from dreamspi.building import make_env, make_planner, refusals
from dreamspi.certificate_table import told
from dreamspi.collection import Collection
from dreamspi.config import load as load_config
from dreamspi.episodes import play_episodes
from dreamspi.errors import UserError
from dreamspi.generators import seed_everything
from dreamspi.machine import prepare
from dreamspi.options import check_playing, read_options
from dreamspi.run_directory import write_atomically, write_or_tell
from planners.certificates.lipschitz import Given, Refuted
from planners.planner import Planner

#: Mean episodes that are played before the batch to improve on: where all have one length, it is of their middle.
WARM_UP = 1.5

HELP = """\
usage: dreamspi certify run=<run_dir> [key=value ...]

Plays whole games with the agent of a run, lets it improve once more on a batch of others, gathered as in training
after one and a half mean episodes of each copy, and prints the certificate
of that update: the local losses on games that the model never saw, how far the policy went, every assumption of the
theory and whether it holds, the bounds that follow, which term dominates them, and whether they say anything at all.

keys:
  run=<run_dir>      The run to certify.
  episodes=200       Whole episodes to play.
  checkpoint=newest  newest, best (highest training return), or the path of a checkpoint.
  progress=null      Share of training whose learning rates and weight of the dream the update has; null is where the
                     checkpoint stands, or the last update of a finished run.
  p=0.05             Probability with which each confidence radius may fail.
  horizon=256        Imagined steps of a return.
  K_R=null           Lipschitz constant of the latent reward under the policy, if you know it; with K_P and K_D.
  K_P=null           The same of the latent transition; below 1/gamma. Without them: lower estimates.
  K_D=null           The same of the probability of an end, in each of its two latents, and for each action, too.
  seed=0             Seeds games and dreams; not the training seed.
  num_envs=16        Games that are played side by side, at most `episodes`.
  device=cpu         Where the networks live: cpu, cuda or cuda:<index>.
  json=null          Write the certificate to this file; - prints it in place of the table.
                     It is always written to <run_dir>/certificate.json.
"""


class Options(NamedTuple):
    """What was typed after ``dreamspi certify``; the help says what each is."""

    run: str
    episodes: int = 200
    checkpoint: str = "newest"
    progress: float | None = None
    p: float = 0.05
    horizon: int = 256
    K_R: float | None = None
    K_P: float | None = None
    K_D: float | None = None
    seed: int = 0
    num_envs: int = 16
    device: str = "cpu"
    json: str | None = None


def parse_options(words: list[str]) -> Options:
    """Options from ``key=value`` words.

    Raises:
        UserError: an unknown key, a wrong type or range, or no ``run``.
    """
    options = read_options(words, Options, "which run is to be certified?")
    check_playing(options, "episodes", "num_envs", "horizon")
    if not 0.0 < options.p < 0.5:
        raise UserError(f"p={options.p}: must be a probability above 0 and below 1/2.")
    if options.progress is not None and not 0.0 <= options.progress <= 1.0:
        raise UserError(f"progress={options.progress}: must be a share of the training, from 0 to 1.")
    if len({k is None for k in (options.K_R, options.K_P, options.K_D)}) == 2:
        raise UserError("K_R, K_P and K_D: give all three, or none of them.")
    return options


def certify(options: Options) -> int:
    """Plays, improves, certifies, prints, writes. Returns the exit code."""
    prepare(threads=None)
    cfg = load_config(Path(options.run))
    if "certificate" not in cfg.planner:
        raise UserError(f"{options.run}: planner={cfg.choices.planner} has no certificate; nothing to certify.")
    cfg.device = options.device
    cfg.planner.certificate.update(p=options.p, horizon=options.horizon)
    given = given_constants(options, cfg.gamma)
    env = make_env(cfg, num_envs=min(options.num_envs, options.episodes), training=True)
    planner = make_planner(cfg, env)
    if not planner.learns_model:
        raise UserError(f"{options.run}: planner={cfg.choices.planner} learns no world model; nothing to certify.")
    path, info = restore(planner, Path(options.run), options.checkpoint)
    progress = progress_at(cfg, info["step"]) if options.progress is None else options.progress
    env.set_seed(options.seed)
    seed_everything(options.seed)
    with refusals():
        episodes = play_episodes(planner, env, options.episodes)
        length = len(episodes) / (int(episodes["episode"].max()) + 1)
        batch = later_batch(cfg, planner, options.seed, steps=math.ceil(WARM_UP * length))
    env.close()
    try:
        certificate = planner.certify_update(batch, episodes, progress, given)
    except Refuted as error:
        raise UserError(str(error)) from error
    result = {key: cfg.choices[key] for key in ("env", "world_model", "planner")} | {"seed": cfg.seed}
    result |= {"checkpoint": str(path), "env_steps": info["step"], "progress": progress}
    result["dreams"] = planner.dreams_at(progress)
    text = json.dumps(result | finite(certificate.to_dict()), indent=2) + "\n"
    write_or_tell(Path(options.run) / "certificate.json", text)
    if options.json not in (None, "-"):
        write_atomically(Path(str(options.json)), text)
    print(text if options.json == "-" else told(result, certificate), end="")
    return 0


def progress_at(cfg: DictConfig, step: int) -> float:
    """Share of training done after ``step`` environment steps, or before the last batch if that was all."""
    batch = cfg.num_envs * cfg.num_steps
    batches = cfg.total_steps // batch
    return min(step // batch, batches - 1) / batches


def given_constants(options: Options, gamma: float) -> Given | None:
    """The user's Lipschitz constants. Raises ``UserError`` if the theory can do nothing with them."""
    if options.K_R is None or options.K_P is None or options.K_D is None:
        return None
    given = Given(options.K_R, options.K_P, options.K_D)
    try:
        given.check(gamma)
    except Refuted as error:
        raise UserError(str(error)) from error
    return given


def later_batch(cfg: DictConfig, planner: Planner, seed: int, steps: int) -> TensorDictBase:
    """A batch like those of the training, of other games: the last after at least ``steps`` steps of each copy. A first
    one would show the beginnings of games alone."""
    collection = Collection(
        partial(make_env, cfg, training=True),
        planner.policy,
        num_envs=cfg.num_envs,
        num_steps=cfg.num_steps,
        seed=seed + 1,
        collector={"backend": "direct"},
        device=cfg.device,
        memory=planner.memory_spec,
    )
    collection.barrier(0)
    for _ in range(math.ceil(steps / cfg.num_steps)):
        collection.next()
    batch = collection.next().clone()
    collection.close()
    return batch


def finite(value: Any) -> Any:
    """JSON knows no infinity: ``None`` in its place."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
