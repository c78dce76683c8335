"""``dreamspi dream``: what a trained agent's world model dreams, beside what really happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase

from dreamspi import dream_film, dream_picture
from dreamspi.agents import load_agent
from dreamspi.building import refusals
from dreamspi.certify import finite
from dreamspi.episodes import play_episodes
from dreamspi.errors import UserError
from dreamspi.generators import seed_everything
from dreamspi.machine import prepare
from dreamspi.options import check_playing, read_options
from dreamspi.run_directory import write_atomically, write_or_tell
from planners.dream_quality import Agreement, Calibration, DreamQuality, agree, judge, typical_distance
from planners.open_loop import open_loop, returns_to_the_end, window_returns
from planners.planner import Planner

HELP = """\
usage: dreamspi dream run=<run_dir> [key=value ...]

Plays whole games with the agent of a run, lets its world model dream from their states under the actions that were
really taken, and says how far the dreams are from what happened, at every step up to the horizon.

keys:
  run=<run_dir>      The run whose world model is to dream.
  horizon=null       Steps of a dream; null for 8, or for as many as the longest episode has where that is less.
  episodes=100       Whole episodes to play.
  checkpoint=newest  newest, best (highest training return), or the path of a checkpoint.
  seed=0             Seeds games and dreams; not the training seed.
  num_envs=16        Games that are played side by side, at most `episodes`.
  device=cpu         Where the networks live: cpu, cuda or cuda:<index>.
  video=false        Film one more game beside the dream of it, as <run_dir>/dream.mp4.
  json=null          Write the result to this file; - prints it in place of the table.
                     It is always written to <run_dir>/dream.json, and drawn in <run_dir>/dream.png.
"""

#: Steps of a dream where nothing else is said.
HORIZON = 8
#: Dreams at most; more starts than that are drawn from.
MOST_DREAMS = 4096
#: Steps that are encoded at once.
PIECE = 1024


class Options(NamedTuple):
    """What was typed after ``dreamspi dream``; the help says what each is."""

    run: str
    horizon: int | None = None
    episodes: int = 100
    checkpoint: str = "newest"
    seed: int = 0
    num_envs: int = 16
    device: str = "cpu"
    video: bool = False
    json: str | None = None


class Findings(NamedTuple):
    """What was found, and the dreams that it was found from."""

    sampled: DreamQuality
    mean: DreamQuality
    value: Agreement
    walk: TensorDict


def parse_options(words: list[str]) -> Options:
    """Options from ``key=value`` words.

    Raises:
        UserError: an unknown key, a wrong type or range, or no ``run``.
    """
    options = read_options(words, Options, "which run's world model is to dream?")
    check_playing(options, "episodes", "num_envs")
    if options.horizon is not None and options.horizon < 1:
        raise UserError(f"horizon={options.horizon}: must be at least 1, or null.")
    return options


def dream(options: Options) -> int:
    """Plays, dreams, compares, prints, writes. Returns the exit code."""
    prepare(threads=None)
    run = Path(options.run)
    copies = min(options.num_envs, options.episodes)
    cfg, env, planner, path, step = load_agent(run, options.checkpoint, copies, training=True, device=options.device)
    if not planner.learns_model:
        raise UserError(f"{run}: planner={cfg.choices.planner} learns no world model; there is nothing to dream with.")
    with refusals():
        if options.video:  # first: what can't be filmed is told before anything is played
            dream_film.film(cfg, planner, options.horizon or HORIZON, options.seed, run / "dream.mp4")
        env.set_seed(options.seed)
        seed_everything(options.seed)
        episodes = play_episodes(planner, env, options.episodes)
        env.close()
        horizon = fitting(options.horizon, episodes)
        found = look(planner, episodes.unsqueeze(0), horizon)
    result = {key: cfg.choices[key] for key in ("env", "world_model", "planner")} | {"seed": cfg.seed}
    result |= {"checkpoint": str(path), "env_steps": step, "episodes": options.episodes}
    result |= {"dream_seed": options.seed, "horizon": horizon, "gamma": cfg.gamma}
    result |= {name: finite(asdict(getattr(found, name))) for name in ("sampled", "mean", "value")}
    returns = window_returns(found.walk, cfg.gamma)
    drawn = dream_picture.draw(run / "dream.png", whose(result), found.sampled, found.mean, *returns)
    result |= {"picture": str(run / "dream.png") if drawn else None}
    result |= {"video": str(run / "dream.mp4")} if options.video else {}
    text = json.dumps(result, indent=2) + "\n"
    write_or_tell(run / "dream.json", text)
    if options.json not in (None, "-"):
        write_atomically(Path(str(options.json)), text)
    print(text if options.json == "-" else told(result, found), end="")
    return 0


def fitting(horizon: int | None, episodes: TensorDictBase) -> int:
    """Steps of a dream, such that at least one episode has as many. Raises for a number that was asked for."""
    longest = int(episodes["step"].max()) + 1
    if horizon is not None and horizon > longest:
        count = int(episodes["episode"].max()) + 1
        raise UserError(f"horizon={horizon}: longer than every episode; the longest of {count} has {longest} steps.")
    return horizon or min(HORIZON, longest)


@torch.no_grad()
def look(planner: Planner, experience: TensorDictBase, horizon: int) -> Findings:
    """Dreams from states of sequences ``[S, L]``, sampled and by the mean of ``P̄``, and judges them."""
    agent, gamma = planner.agent, planner.gamma
    pieces = [agent.world_model.believe(piece) for piece in experience.split(PIECE, 1)]
    beliefs = torch.cat([z for z, _ in pieces], 1), torch.cat([after for _, after in pieces], 1)
    distance = typical_distance(beliefs[0].flatten(0, 1))
    with torch.random.fork_rng(devices=[planner.device] if planner.device.type == "cuda" else []):
        by_mean = open_loop(agent, experience, beliefs, horizon, MOST_DREAMS, mean=True)
    walk = open_loop(agent, experience, beliefs, horizon, MOST_DREAMS)  # from the same starts, for the fork
    earned, known = returns_to_the_end(experience, gamma)
    return Findings(
        sampled=judge(walk, distance, gamma),
        mean=judge(by_mean, distance, gamma),
        value=agree(agent.heads(beliefs[0][known]).value, earned[known]),
        walk=walk,
    )


# ------------------------------------------------------------------ told to people


def whose(result: dict[str, Any]) -> str:
    """Whose dreams these are."""
    return f"{result['env']}  {result['world_model']}  {result['planner']}  seed {result['seed']}"


def told(result: dict[str, Any], found: Findings) -> str:
    """The findings as a table for people."""
    quality, mean, horizon = found.sampled, found.mean, result["horizon"]
    steps = sorted({2**k for k in range(horizon.bit_length())} | {horizon})

    def row(name: str, values: Sequence[float]) -> str:
        return f"  {name:<36}" + "".join(f"{values[h - 1]:>11.4g}" for h in steps)

    by_mean = row("  the same, dreaming the mean", mean.latent_error_relative)
    lines = [
        whose(result),
        f"checkpoint   {result['checkpoint']} ({result['env_steps']} steps)",
        f"dreams       {quality.counted[0]} of {horizon} steps, from states of {result['episodes']} new episodes, "
        "under the actions that were taken",
        "",
        row("after step", range(1, horizon + 1)),
        row("dreams whose episode goes on until it", quality.counted),
        row("latent error, L1", quality.latent_error),
        row("  over that of two random states", quality.latent_error_relative),
        *([by_mean] if mean.latent_error != quality.latent_error else []),
        row("  the same, if nothing moved", quality.still_error_relative),
        row("reward error", quality.reward_error),
        row("  on the largest 1% of rewards", quality.reward_error_on_largest),
        row("value error", quality.value_error),
        "",
        _calibration("ends, step 1", quality.termination_first),
        _calibration("ends, all steps", quality.termination),
        "",
        _agreement(f"dreamt against real return of {horizon} steps", quality.returns),
        _agreement("critic against return to the end", found.value),
        "",
        f"picture      {result['picture'] or 'not written'}",
    ]
    return "\n".join(lines + ([f"video        {result['video']}"] if "video" in result else [])) + "\n"


def _calibration(name: str, c: Calibration) -> str:
    return (
        f"  {name:<36} predicted {c.predicted:.2%}, happened {c.frequency:.2%}, calibration error {c.error:.4f}, "
        f"Brier score {c.brier:.4f}"
    )


def _agreement(name: str, a: Agreement) -> str:
    return f"  {name:<36} correlation {a.correlation:.3f}, mean error {a.error:.4g}, bias {a.bias:+.4g}  ({a.count})"
