"""The film of a dream: real games on the left, and on the right what the world model dreams of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import imageio
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tensordict import TensorDictBase
from torch import Tensor

from dreamspi.building import make_env
from dreamspi.envs.base import VectorEnv, upscaled
from dreamspi.episodes import play_on
from planners.planner import Planner
from world_models.contract import ImaginedStep, WorldModel
from world_models.encoders import observation_scale

#: Steps that are shown, and steps of other games whose frames may stand for a latent.
SHOWN, BANK = 200, 1000
#: Slow enough to compare two pictures.
FPS = 5
DECODED = "The dream is shown as the model decodes it."
NEAREST = "The model decodes no pictures: shown is the real frame, of other games, whose latent is nearest."


class Played(NamedTuple):
    """Experience ``[1, M]``, and the frame after each step of it."""

    experience: TensorDictBase
    frames: list[np.ndarray]


class Shown(NamedTuple):
    """Pictures of dreamt latents, and in words how they were made."""

    frames: list[np.ndarray]
    how: str


def film(cfg: DictConfig, planner: Planner, horizon: int, seed: int, path: Path) -> Path:
    """Plays, dreams and writes the film: a dream begins with each game, and anew every ``horizon`` steps."""
    env = make_env(cfg, num_envs=1, training=False)  # as an examiner sees it: it can be rendered, and a game is whole
    env.set_seed(seed + 1)
    model = planner.agent.world_model
    real = play(planner, env, SHOWN)
    since = steps_dreamt(real.experience["next", "done"].flatten(), horizon)
    dream = dream_along(model, real.experience, since)
    shown = decoded(model, dream.next_latent) or nearest(model, dream.next_latent, play(planner, env, BANK))
    env.close()
    write(path, real, dream, shown, [f"step {k} of {horizon}" for k in since])
    return path


def play(planner: Planner, env: VectorEnv, count: int) -> Played:
    """``count`` steps of new games."""
    steps, frames = [], []
    for after in islice(play_on(planner, env), count):
        steps.append(after.to(planner.device))
        frames.append(env.render())
    return Played(torch.stack(steps, 1), frames)


def steps_dreamt(done: Tensor, horizon: int) -> list[int]:
    """How many steps the dream is old after each step of a walk ``[M]``, from 1 to ``horizon``."""
    ages: list[int] = []
    for begins in [True, *done.tolist()[:-1]]:
        ages.append(1 if begins or ages[-1] == horizon else ages[-1] + 1)
    return ages


@torch.no_grad()
def dream_along(model: WorldModel, experience: TensorDictBase, since: Sequence[int]) -> ImaginedStep:
    """One dream ``[M]`` along experience ``[1, M]``, from the real state wherever it is one step old."""
    real, _ = model.believe(experience)
    steps: list[ImaginedStep] = []
    for t, age in enumerate(since):
        latent = real[:, t] if age == 1 else steps[-1].next_latent
        steps.append(model.imagine(latent, experience["action"][:, t]))
    return ImaginedStep(*(torch.cat(column) for column in zip(*steps, strict=True)))


@torch.no_grad()
def decoded(model: WorldModel, latent: Tensor) -> Shown | None:
    """What the model takes latents ``[M, *]`` for; ``None`` where it decodes no pictures."""
    observation = model.decode(latent)
    if observation is None or observation.ndim != 4:
        return None
    brightest = observation_scale(model.observation_spec)
    return Shown([drawn(picture / brightest) for picture in observation.float().cpu().numpy()], DECODED)


def drawn(picture: np.ndarray) -> np.ndarray:
    """A picture ``[C, h, w]`` with values from 0 to 1 as a frame ``[H, W, 3]``: three channels are colours, of others
    the brightest at each place is shown."""
    grey = picture if len(picture) == 3 else picture.max(0, keepdims=True).repeat(3, 0)
    return upscaled((255 * grey.clip(0.0, 1.0)).astype(np.uint8).transpose(1, 2, 0))


@torch.no_grad()
def nearest(model: WorldModel, latent: Tensor, bank: Played) -> Shown:
    """The frame of the bank whose latent is nearest to each of ``[M, *]``, in L1."""
    _, known = model.believe(bank.experience)
    places = torch.cdist(latent.flatten(1), known[0].flatten(1), p=1.0).argmin(1)
    return Shown([bank.frames[place] for place in places.tolist()], NEAREST)


def write(path: Path, real: Played, dream: ImaginedStep, shown: Shown, captions: list[str]) -> None:
    """Writes the film, both sides with the reward of the step, the dream's with its probability of an end."""
    height, width = real.frames[0].shape[:2]
    figure = Figure(figsize=(8, round(0.7 + 4 * height / width, 1)), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    images = [axis.imshow(frames[0]) for axis, frames in zip(axes, (real.frames, shown.frames), strict=True)]
    for axis in axes:
        axis.set_axis_off()
    figure.text(0.5, 0.04, shown.how, ha="center", fontsize=9)
    after = real.experience["next"]
    rewards, ends = after["reward"].flatten().tolist(), after["terminated"].flatten().tolist()
    with imageio.get_writer(path, fps=FPS, macro_block_size=2) as writer:
        for t, caption in enumerate(captions):
            images[0].set_data(real.frames[t])
            images[1].set_data(shown.frames[t])
            axes[0].set_title(f"real   reward {rewards[t]:.2f}{'   the end' if ends[t] else ''}", fontsize=10)
            imagined = f"reward {dream.reward[t]:.2f}   end {dream.termination[t]:.0%}"
            axes[1].set_title(f"dream, {caption}   {imagined}", fontsize=10)
            canvas.draw()
            writer.append_data(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]
