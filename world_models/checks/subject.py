"""What a check is given: how to build the model, and transitions to try it on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
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

    def inputs(self, model: WorldModel, *batch: int) -> tuple[Tensor, ...]:
        """What ``encode`` takes: random observations and, for a recurrent model, memories that some step left."""
        observation = self.observations(*batch)
        if model.memory_spec is None:
            return (observation,)
        with torch.no_grad():
            begun = encode(model, self.observations(*batch), no_memory(model, observation, *batch))
            return observation, remember(model, begun, self.actions(*batch))

    def transitions(self, model: WorldModel, *batch: int) -> Transitions:
        """Random transitions ``[*batch]``, encoded by ``model``; three of ten end."""
        latent, action = encode(model, *self.inputs(model, *batch)), self.actions(*batch)
        then = self.observations(*batch)
        memory = () if model.memory_spec is None else (remember(model, latent, action),)
        next_latent = model.target(encode(model, then, *memory), then)
        reward, terminated = torch.randn(batch, device=self.device), torch.rand(batch, device=self.device) < 0.3
        return Transitions(latent, action, reward, next_latent, terminated)

    def experience(self, model: WorldModel, segments: int, length: int) -> TensorDict:
        """Random experience ``[S, L]``; three of ten steps end an episode. A recurrent model has a past already."""
        observation = self.observations(segments, length + 1)
        done = torch.rand(segments, length, device=self.device) < 0.3
        where = done.reshape(*done.shape, *[1] * len(self.observation_spec.shape))
        after = torch.where(where, self.observations(segments, length), observation[:, 1:])
        reward = torch.randn(segments, length, device=self.device)
        found = experience(model, observation[:, :-1], self.actions(segments, length), reward, after, done)
        if model.memory_spec is not None:
            with torch.no_grad():
                found["memory"] = step_by_step(model, found, self.inputs(model, segments)[1])[2]
        return found


def step_by_step(model: WorldModel, batch: TensorDictBase, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``z``, ``z'`` and the memories before ``z`` of experience ``[S, L]``, as an agent meets them.

    Args:
        memory: that of the first step, ``[S, *]``.
    """
    nothing, steps = torch.zeros_like(memory), []
    for now in batch.unbind(1):
        latent = encode(model, now["observation"], memory)
        left = remember(model, latent, now["action"])
        steps.append((latent, encode(model, now["next", "observation"], left), memory))
        memory = torch.where(now["next", "done"].reshape(-1, *[1] * (left.ndim - 1)), nothing, left)
    latents, after, memories = (torch.stack(found, 1) for found in zip(*steps, strict=True))
    return latents, after, memories


def experience(
    model: WorldModel, observation: Tensor, action: Tensor, reward: Tensor, after: Tensor, terminated: Tensor
) -> TensorDict:
    """Experience ``[S, L]`` with these entries; each step of it is one without memory, as an episode's first."""
    flag = terminated.unsqueeze(-1)
    following = {"observation": after, "reward": reward.unsqueeze(-1), "done": flag, "terminated": flag.clone()}
    found = TensorDict({"observation": observation, "action": action, "next": following}, action.shape)
    if model.memory_spec is not None:
        found["memory"] = no_memory(model, observation, *action.shape)
    return found


def learnt(model: WorldModel, batch: TensorDictBase) -> tuple[TensorDict, Tensor]:
    """What a ground phase computes of experience ``[S, L]``: the local losses, and the sum of all means."""
    latent, next_latent = model.believe(batch)
    after = batch["next"]
    target = model.target(next_latent, after["observation"])
    reward, terminated = after["reward"].squeeze(-1), after["terminated"].squeeze(-1)
    losses = model.local_losses(latent, batch["action"], reward, target, terminated)
    total = torch.stack([value.mean() for value in losses.values()]).sum()
    return losses, total + model.representation_loss(latent, batch["observation"]).mean()


def encode(model: WorldModel, *inputs: Tensor) -> Tensor:
    """``phi`` of all that ``in_keys`` names."""
    return model.encode(*inputs)


def remember(model: WorldModel, latent: Tensor, action: Tensor) -> Tensor:
    """A recurrent model's memory after a step."""
    return model.remember(latent, action)


def no_memory(model: WorldModel, like: Tensor, *batch: int) -> Tensor:
    """The memory ``[*batch, *]`` that an episode begins with."""
    assert model.memory_spec is not None
    return torch.zeros(*batch, *model.memory_spec.shape, dtype=model.memory_spec.dtype, device=like.device)


def disturb(model: WorldModel, seed: int) -> WorldModel:
    """Moves a model's own parameters far from where they began: what is promised must hold for any weights."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in model.model_parameters():
            parameter.add_(torch.randn_like(parameter) * 3 * torch.rand((), device=parameter.device))
    model.after_update()
    return model
