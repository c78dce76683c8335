"""``dreamspi certify``: what the theory promises of a trained agent's next dream, in numbers, on fresh games."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from tensordict import TensorDictBase

from dreamspi.building import make_env, make_planner, refusals
from dreamspi.collection import Collection
from dreamspi.config import check_device_name
from dreamspi.config import load as load_config
from dreamspi.episodes import play_episodes
from dreamspi.errors import UserError
from dreamspi.evaluate import restore
from dreamspi.options import check_json, read_options
from dreamspi.run_directory import write_atomically
from planners.certificates import Certificate, Lipschitz
from planners.planner import Planner

HELP = """\
usage: dreamspi certify run=<run_dir> [key=value ...]

Plays whole games with the agent of a run, lets it improve once more on a batch of others, and prints the certificate
of that update: the local losses on games that the model never saw, how far the policy went, every assumption of the
theory and whether it holds, the bounds that follow, which term dominates them, and whether they say anything at all.

keys:
  run=<run_dir>      The run to certify.
  episodes=200       Whole episodes to play.
  checkpoint=newest  newest, best (highest training return), or the path of a checkpoint.
  progress=0.0       Share of training whose learning rates the update has; at 1 they may be zero.
  p=0.05             Probability with which each confidence radius may fail.
  horizon=256        Imagined steps of a return.
  K_R=null           Lipschitz constant of the latent reward under the policy, if you know it; with K_P.
  K_P=null           The same of the latent transition; below 1/gamma. Without them: lower estimates.
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
    progress: float = 0.0
    p: float = 0.05
    horizon: int = 256
    K_R: float | None = None
    K_P: float | None = None
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
    for key in ("episodes", "num_envs", "horizon"):
        if getattr(options, key) < 1:
            raise UserError(f"{key}={getattr(options, key)}: must be at least 1.")
    if not 0.0 < options.p < 0.5:
        raise UserError(f"p={options.p}: must be a probability above 0 and below 1/2.")
    if not 0.0 <= options.progress <= 1.0:
        raise UserError(f"progress={options.progress}: must be a share of the training, from 0 to 1.")
    if (options.K_R is None) != (options.K_P is None):
        raise UserError("K_R and K_P: give both, or none of them.")
    if options.seed < 0:
        raise UserError(f"seed={options.seed}: must be at least 0.")
    check_device_name(options.device)
    check_json(options.json)
    return options


def certify(options: Options) -> int:
    """Plays, improves, certifies, prints, writes. Returns the exit code."""
    cfg = load_config(Path(options.run))
    if "certificate" not in cfg.planner:
        raise UserError(f"{options.run}: planner={cfg.choices.planner} has no certificate; nothing to certify.")
    cfg.device = options.device
    cfg.planner.certificate.update(p=options.p, horizon=options.horizon)
    constants = given_constants(options, cfg.gamma)
    env = make_env(cfg, num_envs=min(options.num_envs, options.episodes), training=True)
    planner = make_planner(cfg, env)
    if not planner.learns_model:
        raise UserError(f"{options.run}: planner={cfg.choices.planner} learns no world model; nothing to certify.")
    path, info = restore(planner, Path(options.run), options.checkpoint)
    env.set_seed(options.seed)
    torch.manual_seed(options.seed)
    with refusals():
        episodes = play_episodes(planner, env, options.episodes)
        batch = next_batch(cfg, planner, options.seed)
    env.close()
    certificate = planner.certify_update(batch, episodes, options.progress, constants)
    facts = {key: cfg.choices[key] for key in ("env", "world_model", "planner")} | {"seed": cfg.seed}
    result = facts | {"checkpoint": str(path), "env_steps": info["step"], "progress": options.progress}
    text = json.dumps(result | finite(certificate.to_dict()), indent=2) + "\n"
    for target in {str(Path(options.run) / "certificate.json"), options.json} - {None, "-"}:
        write_atomically(Path(str(target)), text)
    print(text if options.json == "-" else told(result, certificate), end="")
    return 0


def given_constants(options: Options, gamma: float) -> Lipschitz | None:
    """The user's Lipschitz constants. Raises ``UserError`` if the theory can do nothing with them."""
    if options.K_R is None or options.K_P is None:
        return None
    try:
        return Lipschitz.given(options.K_R, options.K_P, gamma)
    except ValueError as error:
        raise UserError(str(error)) from error


def next_batch(cfg: DictConfig, planner: Planner, seed: int) -> TensorDictBase:
    """A batch like those of the training, of other games."""
    collection = Collection(
        partial(make_env, cfg, training=True),
        planner.policy,
        num_envs=cfg.num_envs,
        num_steps=cfg.num_steps,
        seed=seed + 1,
        backend="direct",
        workers=1,
        device=cfg.device,
        memory=planner.memory_spec,
    )
    collection.barrier(0)
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


MARKS = {True: "holds", False: "FAILS", None: "open"}


def told(result: dict[str, Any], certificate: Certificate) -> str:
    """The certificate as a table for people."""
    c, e = certificate, certificate.evidence
    k = e.lipschitz
    source = "given" if k.known else "lower estimate"
    lines = [
        f"{result['env']}  {result['world_model']}  {result['planner']}  seed {result['seed']}",
        f"checkpoint    {result['checkpoint']} ({result['env_steps']} steps), one more update",
        "",
        "measured",
        f"  D_sup       {e.D_sup:.4f}   D_inf {e.D_inf:.4f}   (C = {e.C:g}, gamma = {e.gamma:g})",
        _loss("L_R", e.reward, "reward"),
        _loss("L_P", e.transition, "transition, L1 between latents"),
        _loss("L_D", e.termination, "termination"),
        f"  K_V         {k.K_V:.4g}   K_R {k.K_R:.4g}   K_P {k.K_P:.4g}   ({source})",
        "",
        "assumptions",
        *(f"  {MARKS[a.holds]:<6} {a.name}: {a.why}" for a in c.assumptions),
        "",
        f"bounds (the largest possible difference of two returns is {c.largest:.4g})",
        _bound(c, "behavior_difference", "Theorem 2, behavior policy, mean over the states of the data"),
        _bound(c, "value_difference", "Theorem 2, new policy, mean over the states of the data"),
        _bound(c, "value_difference_by_length", "Theorem 2, new policy, initial state, by the mean episode length"),
        _bound(c, "value_difference_start", "Theorem 2, new policy, initial state, from whole episodes"),
        _bound(c, "zeta", "Theorem 3, zeta, mean over the states of the data"),
        _bound(c, "zeta_start", "Theorem 3, zeta, initial state, from whole episodes"),
        _bound(c, "representation", "Theorem 4, eps"),
        "  terms       " + ", ".join(f"{name} {share:.0%}" for name, share in c.terms.items()),
    ]
    return "\n".join(lines + _dream(c)) + "\n"


def _loss(name: str, loss: Any, what: str) -> str:
    return f"  {name}         {loss.mean:.4g} + {loss.radius:.4g} (radius)   {what}"


def _bound(certificate: Certificate, name: str, what: str) -> str:
    value = getattr(certificate, name)
    number = "absent" if value is None else f"{value:.4g}"
    verdict = (
        "an assumption fails" if value is None else "vacuous" if certificate.is_vacuous(value) else "says something"
    )
    return f"  {number:>10}  {verdict:<19}  {what}"


def _dream(certificate: Certificate) -> list[str]:
    c, start = certificate, certificate.evidence.from_start
    if start is None:
        return []
    lines = [
        "",
        "from the initial state",
        f"  earned      {start.real:.4g}   by the behavior policy, discounted, {start.episodes} episodes",
        f"  dreamt      {start.dreamt:.4g}   by the policy that the dream starts from",
    ]
    if c.evidence.dream_improvement is not None:
        lines += [
            f"  improvement {start.dream_improvement:.4g}   of the update, in the dream",
            f"  promised    {c.promised_start:.4g}   of it at least, in the real environment",
        ]
    return lines
