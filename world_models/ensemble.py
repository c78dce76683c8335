"""Several world models on one encoder, that vote; where they disagree, the data have not settled what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torchrl.data import TensorSpec

from world_models.contract import ImaginedStep, WorldModel
from world_models.distributions import Vote


class Ensemble(WorldModel):
    """``P̄`` is the members' equal mixture, ``R̄`` and ``D̄`` are their means; each learns by its own losses.

    Members differ in their initial parameters (Lakshminarayanan et al. 2017) and share the encoder of the first, so
    that they speak of the same latents. Their disagreement is each step's ``uncertainty``.

    Args:
        observation_spec: spec of one observation, without batch dimensions.
        num_actions: size of the discrete action set.
        member: builds one member, as ``member(observation_spec=..., num_actions=...)``; any world model whose
            parameters begin at random.
        members: how many.
    """

    tells_uncertainty = True

    def __init__(
        self, observation_spec: TensorSpec, num_actions: int, member: Callable[..., WorldModel], members: int = 5
    ) -> None:
        if members < 2:
            raise ValueError(f"world_model.members={members}: at least 2, e.g. 5; one is no ensemble.")
        super().__init__(observation_spec, num_actions)
        built = [member(observation_spec=observation_spec, num_actions=num_actions) for _ in range(members)]
        if torch.equal(*(parameters_to_vector(other.model_parameters()) for other in built[:2])):
            raise ValueError(
                f"world_model.member: members of {type(built[0]).__name__} begin alike and never disagree; choose "
                "one whose parameters begin at random, e.g. world_model@world_model.member=deterministic"
            )
        self.first = built[0]
        for other in built[1:]:
            other.encoder = self.first.encoder
        self.members = nn.ModuleList(built)
        self.encoder, self.latent_spec = self.first.encoder, self.first.latent_spec
        self.in_keys, self.memory_spec = self.first.in_keys, self.first.memory_spec
        self.target_has_gradient = self.first.target_has_gradient
        self.transition_lipschitz = _largest([other.transition_lipschitz for other in built])
        self.reward_lipschitz = _largest([other.reward_lipschitz for other in built])

    # ------------------------------------------------------------------ beliefs

    def encode(self, observation: Tensor, *memory: Tensor) -> Tensor:
        """``z = phi(s)``, of the one encoder that all share."""
        return self.first.encode(observation, *memory)

    def latents(self, experience: TensorDictBase) -> Tensor:
        """``z`` of experience ``[S, L]``."""
        return self.first.latents(experience)

    def believe(self, experience: TensorDictBase) -> tuple[Tensor, Tensor]:
        """``z`` and ``z'`` of experience ``[S, L]``."""
        return self.first.believe(experience)

    def remember(self, latent: Tensor, action: Tensor) -> Tensor:
        """The memory after a step, if the members have one."""
        return self.first.remember(latent, action)

    def transition(self, latent: Tensor, action: Tensor) -> Vote:
        """The members' equal mixture."""
        return Vote([member.transition(latent, action) for member in self._each()])

    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Mean of the members, ``[...]``."""
        return self._mean("reward", latent, action)

    def termination(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """Mean of the members, ``[...]``."""
        return self._mean("termination", latent, action, next_latent)

    @torch.no_grad()
    def imagine(self, latent: Tensor, action: Tensor) -> ImaginedStep:
        """One step, each transition by a member drawn for it (PETS, Chua et al. 2018); carries no gradient."""
        vote = self.transition(latent, action)
        next_latent = vote.sample()
        termination = self.termination(latent, action, next_latent)
        return ImaginedStep(next_latent, self.reward(latent, action), termination, vote.disagreement)

    # ------------------------------------------------------------------ learning

    def local_losses(
        self, latent: Tensor, action: Tensor, reward: Tensor, next_latent: Tensor, terminated: Tensor
    ) -> TensorDict:
        """Mean over the members of each loss, ``[...]``."""
        transitions = (latent, action, reward, next_latent, terminated)
        losses = [member.local_losses(*transitions) for member in self._each()]
        return torch.stack(losses).mean(0)

    def target(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """As the first member has it."""
        return self.first.target(next_latent, next_observation)

    def representation_loss(self, latent: Tensor, observation: Tensor) -> Tensor:
        """Mean over the members, ``[...]``."""
        return self._mean("representation_loss", latent, observation)

    def decode(self, latent: Tensor) -> Tensor | None:
        """As the first member has it."""
        return self.first.decode(latent)

    def after_update(self) -> None:
        """Tells each member."""
        for member in self._each():
            member.after_update()

    def _each(self) -> list[WorldModel]:
        return list(self.members)  # type: ignore[arg-type]

    def _mean(self, verb: str, *arguments: Any) -> Tensor:
        return torch.stack([getattr(member, verb)(*arguments) for member in self._each()]).mean(0)


def _largest(constants: list[float | None]) -> float | None:
    """A mean, or an equal mixture, is as steep as the steepest; ``None`` where one of them promises nothing."""
    known = [constant for constant in constants if constant is not None]
    return max(known) if len(known) == len(constants) else None
