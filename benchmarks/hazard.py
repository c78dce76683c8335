"""Which models and costs dream the maze's hazard as it is: to one corridor with 0.8, to the other with 0.2?

    python benchmarks/hazard.py [seeds=3] [updates=2000] [only=<word of a label>]

Each model learns every transition of the maze, its encoder as it was initialized, so that the latents stand still
and what is compared is the transition and its cost alone. Then it dreams 4000 steps from the hazard. A dreamt latent
counts for the state whose latent is nearest, and for none where it is farther from it than a third of the way
between the two corridors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchrl.data import Bounded, TensorSpec

from dreamspi.building import build
from dreamspi.config import compose
from dreamspi.envs.maze import cell_pictures
from dreamspi.envs.maze_mdp import MazeMDP, build_maze
from dreamspi.errors import EXIT_USER_ERROR, UserError, tell, unknown_option
from dreamspi.machine import prepare
from world_models.contract import WorldModel

COST = "world_model.cost._target_=world_models"
#: Label and overrides of each contender.
CONTENDERS = {
    "deterministic, SmoothL1": ["world_model=deterministic"],
    "deterministic, Squared": ["world_model=deterministic", f"{COST}.costs.Squared"],
    "normal, Coupling": ["world_model=normal"],
    "normal, EnergyScore": ["world_model=normal", f"{COST}.costs.EnergyScore"],
    "normal, Likelihood": ["world_model=normal", f"{COST}.costs.Likelihood"],
    "mixture (soft), SmoothL1": ["world_model=mixture"],
    "mixture (soft), EnergyScore": ["world_model=mixture", f"{COST}.costs.EnergyScore"],
    "true_mixture, Coupling": ["world_model=true_mixture", f"{COST}.costs.Coupling"],
    "true_mixture, EnergyScore": ["world_model=true_mixture"],
    "true_mixture, Likelihood": ["world_model=true_mixture", f"{COST}.costs.Likelihood"],
    "true_mixture, learned Wasserstein": ["world_model=true_mixture", f"{COST}.discrepancy.Wasserstein"],
    "categorical, CrossEntropy": ["world_model=categorical"],
    "categorical, JensenShannon": ["world_model=categorical", f"{COST}.costs.JensenShannon"],
    "categorical, Hamming": ["world_model=categorical", f"{COST}.costs.Hamming"],
    "categorical, SmoothL1": ["world_model=categorical", f"{COST}.costs.SmoothL1"],
    "categorical, learned total variation": ["world_model=categorical", f"{COST}.discrepancy.TotalVariation"],
    "transformer, CrossEntropy": ["world_model=transformer"],
    "soft_moe, CrossEntropy": ["world_model=soft_moe"],
    "rssm, KLBalance": ["world_model=rssm"],
    "ensemble (deterministic), SmoothL1": ["world_model=ensemble"],
    "tabular, CrossEntropy": ["world_model=tabular"],
}
DREAMS, BATCH = 4000, 256


class Odds(NamedTuple):
    """Shares of the dreams from the hazard."""

    upper: float
    lower: float
    elsewhere: float
    nowhere: float


def main(words: Sequence[str]) -> int:
    """Trains, prints a table, returns the exit code; a user's mistake is one line on stderr."""
    if {"--help", "-h", "help"} & set(words):
        print(__doc__)
        return 0
    try:
        seeds, updates, only = parse(words)
        prepare(threads=None)
        print("| model, cost | likelier corridor (0.80) | other corridor (0.20) | another state | no state |")
        print("| --- | --- | --- | --- | --- |")
        for label, overrides in CONTENDERS.items():
            if only in label:
                odds = [dreamt_odds(overrides, seed, updates) for seed in range(seeds)]
                print(
                    f"| {label} | " + " | ".join(_told(column) for column in zip(*odds, strict=True)) + " |", flush=True
                )
    except UserError as error:
        tell(error)
        return EXIT_USER_ERROR
    return 0


def parse(words: Sequence[str]) -> tuple[int, int, str]:
    """Seeds, updates and filter from ``key=value`` words."""
    chosen = {"seeds": "3", "updates": "2000", "only": ""}
    for word in words:
        key, _, value = word.partition("=")
        if key not in chosen:
            raise unknown_option(key, tuple(chosen))
        chosen[key] = value
    for key in ("seeds", "updates"):
        if not chosen[key].isdecimal() or int(chosen[key]) < 1:
            raise UserError(f"{key}={chosen[key]}: must be a whole number of at least 1.")
    if not any(chosen["only"] in label for label in CONTENDERS):
        raise UserError(f"only={chosen['only']}: in no label. Labels: {'; '.join(CONTENDERS)}.")
    return int(chosen["seeds"]), int(chosen["updates"]), chosen["only"]


def dreamt_odds(overrides: Sequence[str], seed: int, updates: int) -> Odds:
    """Where a trained model's dreams from the hazard lead."""
    torch.manual_seed(seed)
    mdp = build_maze()
    pictures = torch.as_tensor(cell_pictures(mdp))
    spec = Bounded(0, int(pictures.max()), pictures.shape[1:], dtype=torch.uint8)
    model = _built(overrides, spec, mdp.R.shape[1])
    learn(model, mdp, pictures, updates)
    return judge(model, mdp, pictures)


def _built(overrides: Sequence[str], spec: TensorSpec, actions: int) -> WorldModel:
    return build(compose(list(overrides)), "world_model", observation_spec=spec, num_actions=actions)


def learn(model: WorldModel, mdp: MazeMDP, pictures: Tensor, updates: int) -> None:
    """Updates of the model, not of its encoder, on transitions from all states that are not terminal, all alike."""
    optimizer = torch.optim.Adam(model.model_parameters(), 1e-3)
    odds, pay = torch.as_tensor(mdp.P, dtype=torch.float32), torch.as_tensor(mdp.R, dtype=torch.float32)
    origins = torch.as_tensor(np.flatnonzero(~mdp.terminal))
    ends = torch.as_tensor(mdp.terminal)
    for _ in range(updates):
        state = origins[torch.randint(len(origins), (BATCH,))]
        action = torch.randint(pay.shape[1], (BATCH,))
        after = torch.multinomial(odds[state, action], 1).squeeze(1)
        with torch.no_grad():
            latent = model.encode(pictures[state])
            target = model.target(_led_to(model, latent, action, pictures[after]), pictures[after])
        losses = model.local_losses(latent, action, pay[state, action], target, ends[after])
        optimizer.zero_grad()
        torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
        optimizer.step()
        model.after_update()


def _led_to(model: WorldModel, latent: Tensor, action: Tensor, after: Tensor) -> Tensor:
    """``phi(s')``, with the memory that a recurrent model has by then."""
    return model.encode(after, *(() if model.memory_spec is None else (model.remember(latent, action),)))


@torch.no_grad()
def judge(model: WorldModel, mdp: MazeMDP, pictures: Tensor) -> Odds:
    """Sorts dreams from the hazard by the nearest latent."""
    hazard, upper, lower = (mdp.names.index(name) for name in ("hazard", "upper_1", "lower_1"))
    count = len(mdp.names)
    latent = model.encode(pictures[[hazard]])
    action = torch.zeros(DREAMS, dtype=torch.long)
    dreamt = model.imagine(latent.expand(DREAMS, *latent.shape[1:]), action).next_latent.flatten(1)
    known = _led_to(model, latent.expand(count, *latent.shape[1:]), action[:count], pictures).flatten(1)
    distance, nearest = torch.cdist(dreamt, known).min(1)
    lost = distance > torch.dist(known[upper], known[lower]) / 3
    at = [float(((nearest == state) & ~lost).float().mean()) for state in (upper, lower)]
    nowhere = float(lost.float().mean())
    return Odds(*at, elsewhere=max(1.0 - sum(at) - nowhere, 0.0), nowhere=nowhere)


def _told(shares: Sequence[float]) -> str:
    spread = f" ({min(shares):.2f}–{max(shares):.2f})" if max(shares) - min(shares) >= 0.005 else ""
    return f"{mean(shares):.2f}{spread}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
