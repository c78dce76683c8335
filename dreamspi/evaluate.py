"""``dreamspi evaluate``: whole games with a trained agent, raw scores, honest intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import imageio
import numpy as np
import torch
from omegaconf import DictConfig
from scipy import stats
from torch import Tensor
from torchrl.envs import ExplorationType, set_exploration_type, step_mdp

from dreamspi.agents import load_agent
from dreamspi.building import refusals
from dreamspi.envs.base import VectorEnv
from dreamspi.errors import UserError
from dreamspi.generators import seed_everything
from dreamspi.machine import prepare
from dreamspi.options import check_playing, read_options
from dreamspi.run_directory import write_atomically
from planners.planner import Planner

HELP = """\
usage: dreamspi evaluate run=<run_dir> [key=value ...]

Plays whole games with the agent of a run and prints raw scores: mean, median, and the interquartile mean with a
95% bootstrap interval over games. One run is one seed: the interval says nothing of other training seeds.

keys:
  run=<run_dir>      The run to evaluate.
  episodes=100       Whole games to play.
  checkpoint=newest  newest, best (highest training return), or the path of a checkpoint.
  greedy=false       Take the likeliest action instead of sampling from the policy.
  seed=0             Seeds the games and the actions; not the training seed.
  num_envs=16        Games that are played side by side, at most `episodes`.
  device=cpu         Where the networks live: cpu, cuda or cuda:<index>.
  video=false        Film the first game of copy 0, as <run_dir>/video.mp4.
  json=null          Write the result to this file; - prints it in place of the text.
"""

#: Frames per second and longest length of a video.
FPS, MAX_FRAMES = 15, 15 * 240
#: Steps of a game after which it is taken to be endless; the longest that a family of ours allows is 27,000.
MAX_LENGTH = 200_000
RESAMPLES = 2000


class Options(NamedTuple):
    """What was typed after ``dreamspi evaluate``; the help says what each is."""

    run: str
    episodes: int = 100
    checkpoint: str = "newest"
    greedy: bool = False
    seed: int = 0
    num_envs: int = 16
    device: str = "cpu"
    video: bool = False
    json: str | None = None


def parse_options(words: list[str]) -> Options:
    """Options from ``key=value`` words.

    Raises:
        UserError: an unknown key, a wrong type or range, or no ``run``.
    """
    options = read_options(words, Options, "which run is to be evaluated?")
    check_playing(options, "episodes", "num_envs")
    return options


def evaluate(options: Options) -> int:
    """Plays, prints, writes. Returns the exit code."""
    prepare(threads=None)
    copies = min(options.num_envs, options.episodes)
    cfg, env, planner, path, step = load_agent(options.run, options.checkpoint, copies, device=options.device)
    env.set_seed(options.seed)
    seed_everything(options.seed)
    film = Film(Path(options.run) / "video.mp4") if options.video else None
    with refusals():
        returns, lengths = play(planner, env, options.episodes, options.greedy, film)
    result = _facts(cfg) | {"checkpoint": str(path), "env_steps": step, "greedy": options.greedy}
    result |= {"evaluation_seed": options.seed} | statistics(returns, options.seed)
    result |= {"mean_length": float(np.mean(lengths)), "returns": returns}
    if film is not None:
        result["video"] = str(film.write())
    env.close()
    text = json.dumps(result, indent=2)
    if options.json not in (None, "-"):
        write_atomically(Path(options.json), text + "\n")
    print(text if options.json == "-" else _told(result))
    return 0


class Film:
    """Collects frames of copy 0 until its first game is over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames: list[np.ndarray] = []
        self.over = False

    def add(self, frame: np.ndarray, game_over: bool) -> None:
        """One picture ``[H, W, 3]``; whether it is the game's last."""
        if not self.over and len(self.frames) < MAX_FRAMES:
            self.frames.append(frame)
        self.over = self.over or game_over

    def write(self) -> Path:
        """Writes the video; its last picture stays for a second."""
        frames = self.frames + self.frames[-1:] * FPS
        with imageio.get_writer(self.path, fps=FPS, macro_block_size=2) as writer:
            for frame in frames:
                writer.append_data(frame)  # type: ignore[attr-defined]
        return self.path


@torch.no_grad()
def play(
    planner: Planner, env: VectorEnv, episodes: int, greedy: bool = False, film: Film | None = None
) -> tuple[list[float], list[int]]:
    """Raw returns and lengths of whole games, in an environment that carries what a recurrent policy remembers.

    Each copy plays a share that is fixed in advance: taking the first games to end would favour short ones.

    Raises:
        UserError: a game goes on for more than ``MAX_LENGTH`` steps.
    """
    share = torch.tensor([len(range(i, episodes, env.num_envs)) for i in range(env.num_envs)])
    returns: list[list[float]] = [[] for _ in share]
    lengths: list[list[int]] = [[] for _ in share]
    kind = ExplorationType.DETERMINISTIC if greedy else ExplorationType.RANDOM
    state = env.reset()
    if film is not None:
        film.add(env.render(), False)
    with set_exploration_type(kind):
        while any(len(r) < n for r, n in zip(returns, share.tolist(), strict=True)):
            after = env.step(planner.policy(state.to(planner.device)).cpu())
            over: Tensor = after["next", "game_over"].squeeze(-1)
            if film is not None and not film.over:
                film.add(env.render(), bool(over[0]))
            for i in over.nonzero().flatten().tolist():
                if len(returns[i]) < share[i]:
                    returns[i].append(float(after["next", "episode_return"][i]))
                    lengths[i].append(int(after["next", "episode_length"][i]))
            if (longest := int(after["next", "episode_length"].max())) > MAX_LENGTH:
                raise UserError(f"a game is still not over after {longest} steps: this agent may never end it.")
            state = env.maybe_reset(step_mdp(after))
    return sum(returns, []), sum(lengths, [])


def iqm(returns: np.ndarray, axis: int = -1) -> np.ndarray:
    """Interquartile mean: the mean of the middle half."""
    return stats.trim_mean(returns, 0.25, axis=axis)


def statistics(returns: list[float], seed: int) -> dict[str, Any]:
    """``episodes``, ``mean``, ``median``, ``std``, ``iqm`` and its 95% percentile-bootstrap interval ``iqm_interval``;
    ``std`` and the interval are null for one game."""
    values = np.asarray(returns, dtype=float)
    interval = None
    if len(values) > 1:
        found = stats.bootstrap((values,), iqm, n_resamples=RESAMPLES, method="percentile", rng=seed)
        interval = [float(found.confidence_interval.low), float(found.confidence_interval.high)]
    return {
        "episodes": len(values),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "std": float(values.std(ddof=1)) if len(values) > 1 else None,
        "iqm": float(iqm(values)),
        "iqm_interval": interval,
    }


def _facts(cfg: DictConfig) -> dict[str, Any]:
    return {key: cfg.choices[key] for key in ("env", "world_model", "planner")} | {"seed": cfg.seed}


def _told(result: dict[str, Any]) -> str:
    low, high = result["iqm_interval"] or (None, None)
    interval = f"95% interval {low:.4g} to {high:.4g}" if low is not None else "n = 1, no interval"
    deviation = f"standard deviation {result['std']:.4g}" if result["std"] is not None else "n = 1, no deviation"
    lines = [
        f"{result['env']}  {result['world_model']}  {result['planner']}  seed {result['seed']}",
        f"checkpoint   {result['checkpoint']} ({result['env_steps']} steps)",
        f"games        {result['episodes']}, mean length {result['mean_length']:.1f} steps",
        f"mean         {result['mean']:.4g}  ({deviation})",
        f"median       {result['median']:.4g}",
        f"IQM          {result['iqm']:.4g}  ({interval} over games, one training seed)",
    ]
    return "\n".join(lines + ([f"video        {result['video']}"] if "video" in result else []))
