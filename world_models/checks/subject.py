"""What a check is given: how to build the model, and transitions to try it on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torchrl.data import TensorSpec

from world_models.checks.observations import draw
from world_models.contract import Unsuited, WorldModel

Build = Callable[[TensorSpec, int], WorldModel]


class Transitions(NamedTuple):
    """A batch ``[...]`` of transitions in latent space: the arguments of ``local_losses``."""

    latent: Tensor
    action: Tensor
    reward: Tensor
    next_latent: Tensor
    terminated: Tensor


class Subject:
    """A world model on one kind of observation.

    Args:
        build: called as ``build(observation_spec, num_actions)``, as a runner builds the model.
        observation_spec: spec of one observation, without batch dimensions.
        num_actions: size of the action set.
        device: where the model lives.
    """

    def __init__(
        self, build: Build, observation_spec: TensorSpec, num_actions: int = 3, device: torch.device | str = "cpu"
    ) -> None:
        self.build, self.observation_spec, self.num_actions = build, observation_spec, num_actions
        self.device = torch.device(device)

    def on(self, device: torch.device | str) -> Subject:
        """The same model on another device."""
        return Subject(self.build, self.observation_spec, self.num_actions, device)

    def fresh(self, seed: int = 0) -> WorldModel:
        """A model of one's own, to train or to disturb."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.build(self.observation_spec, self.num_actions).to(self.device)

    @cached_property
    def model(self) -> WorldModel:
        """The model as it is before training, shared by the checks that only look at it."""
        return self.fresh()

    def refusal(self) -> Unsuited | None:
        """What the model says where it can't take such observations."""
        try:
            self.model  # noqa: B018 - built on first sight
        except Unsuited as error:
            return error
        return None

    def observations(self, *batch: int) -> Tensor:
        """Random observations ``[*batch, *shape]``."""
        return draw(self.observation_spec, *batch).to(self.device)

    def actions(self, *batch: int) -> Tensor:
        """Random actions ``[*batch]``."""
        return torch.randint(self.num_actions, batch, device=self.device)

    def transitions(self, model: WorldModel, *batch: int) -> Transitions:
        """Random transitions ``[*batch]``, encoded by ``model``; three of ten end."""
        now, then = self.observations(*batch), self.observations(*batch)
        next_latent = model.target(model.encode(then), then)
        reward, terminated = torch.randn(batch, device=self.device), torch.rand(batch, device=self.device) < 0.3
        return Transitions(model.encode(now), self.actions(*batch), reward, next_latent, terminated)


def disturb(model: WorldModel, seed: int) -> WorldModel:
    """Moves a model's own parameters far from where they began: what is promised must hold for any weights."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in model.model_parameters():
            parameter.add_(torch.randn_like(parameter) * 3 * torch.rand((), device=parameter.device))
    model.after_update()
    return model
