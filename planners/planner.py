"""A planner: one ground phase, and perhaps a dream, on each fresh batch; then the measure of how far it went.

``ppo``, ``deepmdp``, ``deepspi``, ``deepspi_replay``, ``dreamspi`` and ``hybrid`` are configurations of this one walk.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import TensorSpec

from planners.agent import Agent
from planners.certificates.certificate import Certificate, certify
from planners.certificates.evidence import Settings
from planners.certificates.gathering import Policies, gather
from planners.certificates.lipschitz import Given
from planners.compiling import prepare_compiler
from planners.diagnosis import diagnosis
from planners.dream import Behavior, Dream
from planners.experience import add_advantages
from planners.ground import Ground
from planners.guards import Free, build_neighborhood
from planners.heads import Heads
from planners.neighborhood import measure
from planners.optimization import drawing
from planners.value_scale import ValueScale
from planners.veto import real_gain
from world_models.contract import WorldModel
from world_models.precision import set_precision, single_precision


class Planner:
    """Improves an agent's policy from batches of real experience.

    Args:
        world_model: what the agent believes; planners see it only through its contract.
        batch_shape: environments and steps per batch, ``(N, T)``.
        ground: builds the ground phase.
        dream: builds the dream phase; ``None`` for online planners.
        C: neighborhood constant, strictly between 1 and 2.
        neighborhood: how the neighborhood is held: ``clip``, ``drift``, ``stop`` or ``project``.
        kappa: weight of the drift; 1 makes it the clip. Only ``drift`` reads it.
        gamma: discount, in [0, 1].
        lmbda: GAE's lambda, in [0, 1].
        value_scale: unit of the critic's errors.
        certificate: how certificates are made.
        hidden: width of the heads' dense layer.
        heads: what actor and critic are, built as in ``Agent``.
        precision: arithmetic of the large layers, ``fp32`` or ``bf16``; see ``world_models/precision.py``.
        compile: both phases' losses and the dream run through ``torch.compile``.
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
        value_scale: ValueScale,
        certificate: Settings,
        hidden: int,
        heads: Callable[[torch.Size, int, int], Heads] = Heads,
        precision: str = "fp32",
        compile: bool = False,
    ) -> None:
        for key, number in (("gamma", gamma), ("planner.lmbda", lmbda)):
            if not 0.0 <= number <= 1.0:
                raise ValueError(f"{key}={number}: from 0 to 1")
        if hidden < 1:
            raise ValueError(f"planner.hidden={hidden}: at least 1")
        self.C, self.gamma, self.lmbda, self.value_scale = C, gamma, lmbda, value_scale
        self.certificate = certificate
        self.device = next(world_model.parameters()).device
        self.agent = Agent(world_model, hidden, heads).to(self.device)
        value_scale.to(self.device)
        set_precision(self.agent, precision)
        self.policy = self.agent.policy()
        self.neighborhood = build_neighborhood(neighborhood, C, kappa)
        shared: dict[str, Any] = {
            "agent": self.agent,
            "batch_shape": batch_shape,
            "neighborhood": self.neighborhood,
            "value_scale": value_scale,
            "gamma": gamma,
            "lmbda": lmbda,
        }
        self.ground = ground(**shared)
        self.dream = dream(**shared) if dream is not None else None
        if self.dream is None and "heads" not in self.ground.optimizers.roles:  # a dream always trains them
            raise ValueError(
                "planner.ground.optimizers: none of them trains the role heads, and there is no dream to do so: no "
                "policy would be learnt"
            )
        if compile:
            options = prepare_compiler(self.device)
            self.ground.loss.compile(**options)
            if self.dream is not None:
                self.dream.compile(**options)
        self.start_heads = copy.deepcopy(self.agent.heads).requires_grad_(False)
        self.behavior_heads = copy.deepcopy(self.agent.heads).requires_grad_(False)
        self.previous_heads = copy.deepcopy(self.agent.heads).requires_grad_(False)

    @drawing()
    def improve(
        self,
        batch: TensorDictBase,
        progress: float,
        diagnose: bool = False,
        certify: bool = False,
        stale: bool = False,
    ) -> dict[str, float]:
        """One iteration: advantages, ground, dream, measure; and, where asked, the certificate of it.

        Args:
            batch: experience ``[N, T]``. The neighborhood is that of the policy that gathered it.
            progress: share of training done, in [0, 1].
            diagnose: also evaluate the model and its latents, on this batch before anything learns from it, and how
                far the policy goes: where there is a dream, which needs the same latents, that is always told.
            certify: also give the update's certificate, on this batch; a planner that learns no model has none.
            stale: the batch was gathered by the policy before the last update, not by the current one.

        Returns:
            Metrics by name; ``docs/metrics.md`` explains each.
        """
        current = self.agent.heads.state_dict()
        self.behavior_heads.load_state_dict(self.previous_heads.state_dict() if stale else current)
        self.previous_heads.load_state_dict(current)
        metrics = diagnosis(self.agent, batch, self.gamma, self.learns_model) if diagnose else {}
        if stale:  # the critic has learnt since: one critic for all of a row
            batch = TensorDict(batch.copy(), batch.shape).update({"state_value": self.agent.value(batch).unsqueeze(-1)})
        batch = add_advantages(batch, self.agent.value, self.gamma, self.lmbda)
        self.value_scale.update(batch["value_target"])
        metrics |= self.ground.run(batch, progress)
        if self.dream is not None or diagnose or certify:
            metrics |= self._dream_and_measure(batch, progress, stale)
        if certify and self.learns_model:
            metrics |= {f"certificate/{key}": value for key, value in self._certify(batch, progress).metrics().items()}
        return metrics

    @property
    def memory_spec(self) -> TensorSpec | None:
        """Spec of what the policy carries from step to step; ``None`` unless the world model is recurrent."""
        return self.agent.world_model.memory_spec

    @property
    def enforces(self) -> bool:
        """Whether the neighborhood is enforced, and not only encouraged."""
        return not isinstance(self.neighborhood.guard, Free)

    @property
    def learns_model(self) -> bool:
        """Whether there is a world model to certify: ``ppo`` has one, but never trains it."""
        return "model" in self.ground.optimizers.roles

    def certify_update(
        self, batch: TensorDictBase, episodes: TensorDictBase, progress: float, given: Given | None = None
    ) -> Certificate:
        """Improves once on ``batch``, and certifies that on whole episodes that the update did not see.

        Args:
            batch: experience ``[N, T]`` of the current policy, to learn from.
            episodes: transitions ``[M]`` of the current policy, one whole episode after the other, with ``episode``
                and ``step``.
            progress: share of training whose learning rates the update has.
            given: Lipschitz constants that are known; estimated if ``None``.
        """
        self.improve(batch, progress)
        return self._certify(episodes.unsqueeze(0), progress, given)

    def dreams_at(self, progress: float) -> bool:
        """Whether an update has a dream when ``progress`` in [0, 1] of the training is done."""
        return self.dream is not None and self.dream.beta(progress) > 0.0

    def _certify(self, batch: TensorDictBase, progress: float, given: Given | None = None) -> Certificate:
        """The certificate of the last update, on a batch ``[N, T]`` or whole episodes ``[1, M]``: see ``gather``."""
        start = self.start_heads if self.dreams_at(progress) else None
        policies = Policies(batch["logits"], start, self.agent.heads)
        with single_precision(self.agent, self.start_heads):
            return certify(gather(self.agent.world_model, policies, batch, self.gamma, self.C, self.certificate, given))

    @torch.no_grad()
    def encode(self, states: TensorDictBase) -> Tensor:
        """States ``[...]``, each with its ``observation`` and, for a recurrent model, the ``memory`` before it, to
        latents ``[..., *latent_shape]``."""
        model = self.agent.world_model
        return model.encode(*(states[key].to(self.device) for key in model.in_keys))

    @torch.no_grad()
    def probabilities(self, states: TensorDictBase) -> Tensor:
        """Action probabilities ``[..., A]`` of the deployed policy in such states."""
        return self.agent.heads(self.encode(states)).logits.exp()

    def _dream_and_measure(self, batch: TensorDictBase, progress: float, stale: bool) -> dict[str, float]:
        """The dream from the states of a batch ``[N, T]``, if there is one, and how far each phase and both together
        took the deployed policy on these states. A ``stale`` batch's ground phase includes the update before."""
        with torch.no_grad():
            latent = self.agent.world_model.latents(batch).flatten(0, 1)
        behavior = batch["logits"].flatten(0, 1)
        grounded = dreamt = self._log_policy(latent)
        metrics = self._measured("ground", behavior, grounded)
        if self.dream is not None:
            self.start_heads.load_state_dict(self.agent.heads.state_dict())
            gathered = Behavior(self.behavior_heads, behavior, stale or "heads" in self.ground.optimizers.roles)
            metrics |= self.dream.run(latent, batch, gathered, progress)
            dreamt = self._log_policy(latent)
            gain = real_gain(batch, grounded, dreamt)
            vetoed = self.dream.veto and gain < 0.0
            if vetoed:
                self.agent.heads.take_back(self.start_heads)
                dreamt = grounded
            metrics |= {"dream/real_gain": gain, "dream/vetoed": float(vetoed)}
            metrics |= self._measured("dream", grounded, dreamt)
        return metrics | self._measured("neighborhood", behavior, dreamt)

    def _measured(self, prefix: str, reference: Tensor, policy: Tensor) -> dict[str, float]:
        """How far a policy is from a reference, both log-probabilities ``[M, A]``."""
        found = measure(reference, policy, self.C)
        return {f"{prefix}/{key}": value for key, value in found._asdict().items()}

    @torch.no_grad()
    def _log_policy(self, latent: Tensor) -> Tensor:
        return self.agent.heads(latent).logits

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning needs to go on: parameters and optimizers."""
        state = {"agent": self.agent.state_dict(), "value_scale": self.value_scale.state_dict()}
        state |= self.ground.state_dict()
        if self.dream is not None:
            state["dream"] = self.dream.optimizers.state_dict()
            state["trust"] = self.dream.trust.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.agent.load_state_dict(state["agent"])
        self.value_scale.load_state_dict(state["value_scale"])
        self.ground.load_state_dict(state)
        if self.dream is not None:
            self.dream.optimizers.load_state_dict(state["dream"])
            self.dream.trust.load_state_dict(state["trust"])
