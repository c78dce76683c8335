"""What a batch of fresh experience tells of the world model, before anything has learnt from it."""

from __future__ import annotations

import math

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.agent import Agent
from planners.dream_quality import judge, typical_distance
from planners.open_loop import open_loop
from world_models.diagnostics import dead_units, effective_rank, latent_spread, reward_error_on_largest

#: Open-loop dreams at most, and their steps at most.
DREAMS, HORIZON = 128, 8


@torch.no_grad()
def diagnosis(agent: Agent, batch: TensorDictBase, gamma: float, dreams: bool) -> dict[str, float]:
    """Metrics by name; ``docs/metrics.md`` explains each.

    What is sampled draws from a fork of the generator, so that looking changes nothing.

    Args:
        agent: before it learns from the batch.
        batch: experience ``[N, T]``.
        gamma: discount.
        dreams: whether there are dreams to judge: not of a model that is never trained.
    """
    device = batch["action"].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        beliefs = agent.world_model.believe(batch)
        return model_health(agent, batch, beliefs) | (dream_quality(agent, batch, beliefs, gamma) if dreams else {})


def model_health(agent: Agent, batch: TensorDictBase, beliefs: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Errors of the model in true metrics on single steps, and the health of its latents."""
    model, after, (latent, next_latent) = agent.world_model, batch["next"], beliefs
    reward, terminated = after["reward"].squeeze(-1), after["terminated"].squeeze(-1)
    distances = model.local_distances(latent, batch["action"], reward, next_latent, terminated)
    rows = latent.flatten(0, 1)
    predicted = model.reward(latent, batch["action"])
    return {f"model/{key}_distance": float(value.mean()) for key, value in distances.items()} | {
        "model/reward_error_on_largest": float(reward_error_on_largest(predicted, reward)),
        "model/effective_rank": float(effective_rank(rows)),
        "model/latent_spread": float(latent_spread(rows)),
        "model/dead_units": float(dead_units(rows)),
    }


def dream_quality(
    agent: Agent, batch: TensorDictBase, beliefs: tuple[Tensor, Tensor], gamma: float
) -> dict[str, float]:
    """The errors of a few open-loop dreams; what the batch can't tell is left out."""
    horizon = min(HORIZON, batch.shape[1])
    walk = open_loop(agent, batch, beliefs, horizon, DREAMS)
    quality = judge(walk, typical_distance(beliefs[0].flatten(0, 1)), gamma)
    found = {
        "latent_error_first": quality.latent_error_relative[0],
        "latent_error_half": quality.latent_error_relative[(horizon - 1) // 2],
        "latent_error_last": quality.latent_error_relative[-1],
        "still_error_last": quality.still_error_relative[-1],
        "reward_error_last": quality.reward_error[-1],
        "value_error_last": quality.value_error[-1],
        "return_correlation": quality.returns.correlation,
        "return_error": quality.returns.error,
        "return_bias": quality.returns.bias,
        "calibration_error": quality.termination.error,
        "brier_score": quality.termination.brier,
    }
    return {f"dream_quality/{key}": value for key, value in found.items() if not math.isnan(value)}
