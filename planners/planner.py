"""A planner: one ground phase, and perhaps a dream, on each fresh batch; then the measure of how far it went.

``ppo``, ``deepmdp``, ``deepspi``, ``dreamspi`` and ``hybrid`` are five configurations of this one walk.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.agent import Agent
from planners.dream import Dream
from planners.experience import add_advantages, encode_transitions
from planners.ground import Ground
from planners.neighborhood import Clip, Drift, Surrogate, interval, measure
from world_models.contract import WorldModel
from world_models.diagnostics import dead_units, effective_rank, reward_error_on_largest

#: The soft forms of the neighborhood, by their name in ``planner.neighborhood``, built from ``planner.kappa``.
NEIGHBORHOODS: dict[str, Callable[[float], Surrogate]] = {"clip": lambda kappa: Clip(), "drift": Drift}


class Planner:
    """Improves an agent's policy from batches of real experience.

    Args:
        world_model: what the agent believes; planners see it only through its contract.
        batch_shape: environments and steps per batch, ``(N, T)``.
        ground: builds the ground phase.
        dream: builds the dream phase; ``None`` for online planners.
        C: neighborhood constant, strictly between 1 and 2.
        neighborhood: how the neighborhood is held: ``clip`` or ``drift``.
        kappa: weight of the drift; 1 makes it the clip. Only ``drift`` reads it.
        gamma: discount, in [0, 1].
        lmbda: GAE's lambda, in [0, 1].
        hidden: width of the heads' dense layer.
    """

    def __init__(
        self,
        world_model: WorldModel,
        batch_shape: tuple[int, int],
        ground: Callable[..., Ground],
        dream: Callable[..., Dream] | None,
        C: float,  # noqa: N803
        neighborhood: str,
        kappa: float,
        gamma: float,
        lmbda: float,
        hidden: int,
    ) -> None:
        interval(C)
        for key, number in (("gamma", gamma), ("planner.lmbda", lmbda)):
            if not 0.0 <= number <= 1.0:
                raise ValueError(f"{key}={number}: from 0 to 1")
        if neighborhood not in NEIGHBORHOODS:
            raise ValueError(f"planner.neighborhood={neighborhood}: no such form; allowed: {', '.join(NEIGHBORHOODS)}")
        surrogate = NEIGHBORHOODS[neighborhood](kappa)
        if hidden < 1:
            raise ValueError(f"planner.hidden={hidden}: at least 1")
        self.C, self.gamma, self.lmbda = C, gamma, lmbda
        self.device = next(world_model.parameters()).device
        self.agent = Agent(world_model, hidden).to(self.device)
        self.policy = self.agent.policy()
        shared: dict[str, Any] = {"agent": self.agent, "batch_shape": batch_shape, "C": C, "surrogate": surrogate}
        self.ground = ground(**shared)
        self.dream = dream(**shared, gamma=gamma, lmbda=lmbda) if dream is not None else None
        self.behavior_heads = copy.deepcopy(self.agent.heads).requires_grad_(False)

    def improve(self, batch: TensorDictBase, progress: float, diagnose: bool = False) -> dict[str, float]:
        """One iteration: advantages, ground, dream, measure.

        Args:
            batch: experience ``[N, T]`` of the current policy.
            progress: share of training done, in [0, 1].
            diagnose: also evaluate the model and its latents, on this batch before anything learns from it.

        Returns:
            Metrics by name; ``docs/metrics.md`` explains each.
        """
        self.behavior_heads.load_state_dict(self.agent.heads.state_dict())
        metrics = self._diagnose(batch) if diagnose else {}
        batch = add_advantages(batch, self._value, self.gamma, self.lmbda)
        metrics |= self.ground.run(batch, progress)
        with torch.no_grad():
            latent = self.agent.world_model.encode(batch["observation"].flatten(0, 1))
        if self.dream is not None:
            metrics |= self.dream.run(latent, self.behavior_heads, progress)
        return metrics | self._departure(batch, latent)

    @torch.no_grad()
    def encode(self, observation: Tensor) -> Tensor:
        """Observations ``[..., *]`` to latents ``[..., *latent_shape]``."""
        return self.agent.world_model.encode(observation.to(self.device))

    @torch.no_grad()
    def probabilities(self, observation: Tensor) -> Tensor:
        """Action probabilities ``[..., A]`` of the deployed policy."""
        return self.agent.heads(self.encode(observation)).logits.exp()

    @torch.no_grad()
    def _value(self, observation: Tensor) -> Tensor:
        return self.agent.heads(self.encode(observation)).value

    @torch.no_grad()
    def _departure(self, batch: TensorDictBase, latent: Tensor) -> dict[str, float]:
        """How far the deployed policy (a moved encoder counts) is from the one that gathered the batch."""
        policy = self.agent.heads(latent).logits
        found = measure(batch["logits"].flatten(0, 1), policy, self.C)
        return {f"neighborhood/{key}": value for key, value in found._asdict().items()}

    @torch.no_grad()
    def _diagnose(self, batch: TensorDictBase) -> dict[str, float]:
        """Errors of the model in true metrics on the batch, and the health of its latents.

        Some distances are sampled: they draw from a fork of the generator, so that looking changes nothing.
        """
        model, after = self.agent.world_model, batch["next"]
        latent, next_latent = encode_transitions(
            model.encode, batch["observation"], after["observation"], after["done"].squeeze(-1)
        )
        reward, terminated = after["reward"].squeeze(-1), after["terminated"].squeeze(-1)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            distances = model.local_distances(latent, batch["action"], reward, next_latent, terminated)
        rows = latent.flatten(0, 1)
        predicted = model.reward(latent, batch["action"])
        return {f"model/{key}_distance": float(value.mean()) for key, value in distances.items()} | {
            "model/reward_error_on_largest": float(reward_error_on_largest(predicted, reward)),
            "model/effective_rank": float(effective_rank(rows)),
            "model/dead_units": float(dead_units(rows)),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning needs to go on: parameters and optimizers."""
        state = {"agent": self.agent.state_dict(), "ground": self.ground.optimizers.state_dict()}
        if self.dream is not None:
            state["dream"] = self.dream.optimizers.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.agent.load_state_dict(state["agent"])
        self.ground.optimizers.load_state_dict(state["ground"])
        if self.dream is not None:
            self.dream.optimizers.load_state_dict(state["dream"])
