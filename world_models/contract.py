"""What every world model promises: the one page a planner may rely on.

A world model is an encoder ``phi: S -> Z`` and a latent model ``(P̄, R̄, D̄)`` (Deep SPI, arXiv
2510.12312, section 3). A planner only ever calls the verbs below; it never sees a network.

Shapes: ``[...]`` stands for any leading batch shape (none, ``[N]``, ``[B, T]``, ...). Observations are
``[..., *observation_shape]``, latents ``[..., *latent_spec.shape]``, actions ``[...]`` int64, rewards,
probabilities and losses ``[...]`` float32, flags ``[...]`` bool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torch.distributions import Distribution
from torchrl.data import TensorSpec

from world_models.costs import coupling_distance
from world_models.names import Unsuited as Unsuited  # part of the contract: every model may raise it
from world_models.segments import encode_transitions

LOCAL_LOSSES = ("transition", "reward", "termination")


class ImaginedStep(NamedTuple):
    """One dreamt transition; every field has the batch shape of the latent it started from."""

    next_latent: Tensor
    reward: Tensor
    termination: Tensor
    """Probability that the episode ends on arriving in ``next_latent``: whether it does is the dreamer's to draw."""
    uncertainty: Tensor
    """How far the model itself doubts ``next_latent``, a distance of latents; 0 from a model that cannot tell."""


class WorldModel(nn.Module, ABC):
    """Abstract world model.

    Args:
        observation_spec: spec of one observation, without batch dimensions.
        num_actions: size of the discrete action set.

    Subclasses set ``latent_spec`` (the spec of one latent, without batch dimensions) and ``encoder``
    (the module that holds every parameter of ``phi``) in their constructor.
    """

    latent_spec: TensorSpec
    encoder: nn.Module

    #: Whether ``imagine`` tells how far the model doubts itself; where not, ``uncertainty`` is 0.
    tells_uncertainty = False
    #: Whether ``imagine`` draws at random; where not, the same latent and action give the same step each time.
    stochastic = True
    #: The entries of experience that ``encode`` takes, in order. A recurrent model adds ``memory``.
    in_keys: Sequence[str] = ("observation",)
    #: Spec of what a recurrent model carries from step to step, without batch dimensions: see ``recurrent.py``.
    memory_spec: TensorSpec | None = None

    #: Whether ``target`` passes a gradient to ``phi(s')``: where not, frames that are only successors need none.
    target_has_gradient = True

    #: Lipschitz constant in ``z`` of the latent transition (in W1) and of the reward, for each action, in the
    #: Euclidean metric, where the construction guarantees one; ``None`` where nothing is promised.
    transition_lipschitz: float | None = None
    reward_lipschitz: float | None = None

    def __init__(self, observation_spec: TensorSpec, num_actions: int) -> None:
        super().__init__()
        self.observation_spec = observation_spec
        self.num_actions = num_actions

    # ------------------------------------------------------------------ beliefs

    @abstractmethod
    def encode(self, observation: Tensor) -> Tensor:
        """``z = phi(s)``, a function: it draws nothing, as importance ratios are of a policy that sees the same twice.
        Observation in its raw dtype (uint8 images stay uint8 until here).

        Raises ``Unsuited`` where a model finds out only now that it can't take what the environment shows; what
        the spec tells is refused in the constructor.
        """

    def latents(self, experience: TensorDictBase) -> Tensor:
        """``z`` of experience ``[S, L]`` with its ``in_keys``: ``[S, L, *latent_shape]``."""
        return self.encode(experience["observation"])

    def believe(self, experience: TensorDictBase) -> tuple[Tensor, Tensor]:
        """``z`` and ``z'`` of experience ``[S, L]`` in segments: each ``[S, L, *latent_shape]``.

        ``z'`` belongs to the true successor, also where an episode ended. Each distinct frame is encoded once, unless
        it is compiled.
        """
        after = experience["next"]
        frames = experience["observation"], after["observation"], after["done"].squeeze(-1)
        successor = self.encode if self.target_has_gradient else torch.no_grad()(self.encode)
        return encode_transitions(self.encode, successor, *frames)

    def remember(self, latent: Tensor, action: Tensor) -> Tensor:
        """The memory after a step, ``[..., *memory_shape]``, of a recurrent model."""
        raise NotImplementedError(f"{type(self).__name__} has no memory")

    @abstractmethod
    def transition(self, latent: Tensor, action: Tensor) -> Distribution:
        """``P̄(. | z, a)``: batch shape ``[...]``, event shape ``latent_spec.shape``."""

    @abstractmethod
    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        """``R̄(z, a)``: expected reward, ``[...]``, in the units of the environment."""

    @abstractmethod
    def termination(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """``D̄(z, a, z')``: probability in [0, 1] that the episode terminated on arriving in ``z'``."""

    # ------------------------------------------------------------------ learning

    @abstractmethod
    def local_losses(
        self, latent: Tensor, action: Tensor, reward: Tensor, next_latent: Tensor, terminated: Tensor
    ) -> TensorDict:
        """Per-transition training losses: keys ``transition``, ``reward``, ``termination``, each ``[...]``.

        ``next_latent`` is the target ``phi(s')`` as ``target`` returned it. Nothing is averaged: the
        unified utility weighs each transition by its own importance ratio.
        """

    @torch.no_grad()
    def local_distances(
        self, latent: Tensor, action: Tensor, reward: Tensor, next_latent: Tensor, terminated: Tensor
    ) -> TensorDict:
        """Per-transition *certified* errors, in true metrics, same keys and shapes as ``local_losses``.

        ``transition`` is the independent-coupling cost ``E_{z'~P̄} d(phi(s'), z')`` for the L1 metric (an
        upper bound of W1), ``reward`` is ``|r - R̄|``, ``termination`` is ``|1[terminated] - D̄|``.
        Unlike a training loss these may be compared between models of the same latent space.
        """
        ended = self.termination(latent, action, next_latent)
        distances = {
            "transition": coupling_distance(self.transition(latent, action), next_latent),
            "reward": (reward - self.reward(latent, action)).abs(),
            "termination": (terminated.to(ended.dtype) - ended).abs(),
        }
        return TensorDict(distances, batch_size=action.shape)

    def target(self, next_latent: Tensor, next_observation: Tensor) -> Tensor:
        """What the transition is trained towards: ``phi(s')`` with its gradient, unless a model chooses
        otherwise (stop-gradient, slow encoder)."""
        del next_observation
        return next_latent

    def representation_loss(self, latent: Tensor, observation: Tensor) -> Tensor:
        """What latents owe to their observations whatever follows, ``[...]``: a weighted reconstruction, say, or what
        they owe together, told of each alike: only the mean is read.

        By default nothing. It is no local loss: it stands outside the unified utility.
        """
        del observation
        return latent.new_zeros(latent.shape[: latent.ndim - len(self.latent_spec.shape)])

    def after_update(self) -> None:
        """Called after each optimizer step of a phase that trains the encoder; a slow encoder follows here. A step that
        was not taken, as something was not finite, ends the training with its phase."""

    # ------------------------------------------------------------------ dreaming

    @torch.no_grad()
    def imagine(self, latent: Tensor, action: Tensor) -> ImaginedStep:
        """Samples one step of the latent model: ``z'`` of ``transition``, and what ``reward`` and ``termination`` say.
        Carries no gradient."""
        next_latent = self.transition(latent, action).sample()
        reward = self.reward(latent, action)
        termination = self.termination(latent, action, next_latent)
        return ImaginedStep(next_latent, reward, termination, torch.zeros_like(reward))

    def decode(self, latent: Tensor) -> Tensor | None:
        """The observation that a latent stands for, ``[..., *observation_shape]``, float, in the units of the
        environment; ``None`` from a model that does not reconstruct."""
        del latent
        return None

    # ------------------------------------------------------------------ parameters by role

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of ``phi``: they move the deployed policy ``pi̅ ∘ phi``."""
        return self.encoder.parameters()

    def model_parameters(self) -> Iterator[nn.Parameter]:
        """Every trainable parameter that is not the encoder's: transition, reward and termination."""
        encoder = {id(p) for p in self.encoder.parameters()}
        return (p for p in self.parameters() if id(p) not in encoder and p.requires_grad)
