"""Optimizers by role, and one rule for all: what a phase does not train stays bit-identical."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from planners.agent import ROLES, Agent
from world_models.names import no_such


class NotFinite(ArithmeticError):
    """A loss or a gradient became infinite or NaN; the message names which."""


#: How torch's samplers refuse what is no distribution: ``multinomial``, ``bernoulli``, ``normal``.
_REFUSALS = ("probability tensor contains", "Expected p_in >= 0", "normal expects all elements of std")


@contextmanager
def drawing() -> Iterator[None]:
    """Raises ``NotFinite`` where something is to be drawn from a network that has diverged.

    Losses and gradients are asked at a phase's end, but a dream draws before. On a GPU it is the device that refuses,
    and torch tells of it in words of its own.
    """
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in _REFUSALS):
            raise NotFinite("a distribution that the policy or the world model gives is not finite") from error
        raise


def at_least_one(phase: str, **counts: int) -> None:
    """Raises ``ValueError`` with the key for the first count of a phase that is below 1."""
    for key, number in counts.items():
        if number < 1:
            raise ValueError(f"planner.{phase}.{key}={number}: at least 1")


def not_below_zero(phase: str, **weights: float) -> None:
    """Raises ``ValueError`` with the key for the first weight of a phase that is below 0."""
    for key, number in weights.items():
        if number < 0:
            raise ValueError(f"planner.{phase}.{key}={number}: at least 0")


@dataclass(frozen=True)
class Adam:
    """One Adam optimizer over some roles.

    Attributes:
        roles: which of ``encoder``, ``model``, ``heads`` it trains.
        lr: learning rate at the start of training.
        eps: Adam's epsilon; a large one swallows small gradients.
        max_grad_norm: the gradient of all its parameters together is clipped to this norm.
        final_lr: share of ``lr`` left at the end of training, reached linearly; 1 keeps it constant.
    """

    roles: tuple[str, ...]
    lr: float
    eps: float = 1e-5
    max_grad_norm: float = 0.5
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        for role in self.roles:
            if role not in ROLES:
                raise no_such("parameter group", "roles", role, ROLES)
        if self.lr <= 0 or self.eps <= 0 or self.max_grad_norm <= 0:
            raise ValueError(
                f"lr={self.lr}, eps={self.eps}, max_grad_norm={self.max_grad_norm}: each of the three is above 0"
            )
        if not 0 <= self.final_lr <= 1:
            raise ValueError(f"final_lr={self.final_lr}: a share of lr, from 0 to 1")

    def rate(self, progress: float) -> float:
        """Learning rate when ``progress`` in [0, 1] of the training is done."""
        return self.lr * (1.0 - (1.0 - self.final_lr) * min(progress, 1.0))


class Optimizers:
    """The optimizers of one phase.

    Args:
        agent: whose parameters are trained.
        settings: one ``Adam`` per name; a role may appear once at most. ``None`` takes a name out.
        phase: the phase's name, for messages.
    """

    def __init__(self, agent: Agent, settings: Mapping[str, Adam | None], phase: str) -> None:
        self.agent, self.phase = agent, phase
        self.settings = {name: adam for name, adam in settings.items() if adam is not None}
        roles = [role for adam in self.settings.values() for role in adam.roles]
        if len(set(roles)) != len(roles):
            raise ValueError(f"planner.{phase}.optimizers trains a role twice: {', '.join(sorted(roles))}")
        if not roles:
            raise ValueError(f"planner.{phase}.optimizers: none of them trains a role; allowed: {', '.join(ROLES)}")
        self.roles = frozenset(roles)
        self.optimizers = {
            name: torch.optim.Adam(
                [p for role in adam.roles for p in agent.parameters_of(role)], lr=adam.lr, eps=adam.eps, fused=True
            )
            for name, adam in self.settings.items()
        }
        self.keys: list[str] = []
        #: Whether each loss of ``keys`` and the gradient of each optimizer was finite ever since the phase began.
        self.finite: Tensor | None = None

    def set_progress(self, progress: float, scale: float = 1.0) -> None:
        """Sets every learning rate from the share of training that is done, times ``scale``.

        A weight of a whole phase belongs on the rate: Adam undoes most of a weight on the loss. A phase begins with it.
        """
        self.finite = None
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = scale * self.settings[name].rate(progress)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within, only this phase's roles receive gradients."""
        frozen: list[nn.Parameter] = [
            p for role in ROLES if role not in self.roles for p in self.agent.parameters_of(role) if p.requires_grad
        ]
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def policy_parameters(self) -> list[nn.Parameter]:
        """What this phase trains of encoder and heads. The critic's own layers are among them, though the policy does
        not depend on them: a projection that takes the policy back takes back the critic's step as well."""
        roles = [role for role in ("encoder", "heads") if role in self.roles]
        return [p for role in roles for p in self.agent.parameters_of(role)]

    def step(self, losses: TensorDictBase) -> None:
        """One step of every optimizer down the sum of the ``loss_*`` entries.

        Where a loss or a gradient is not finite no parameter of the phase moves, and ``check`` will say so: the device
        is not waited for.
        """
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self.keys = loss_keys(losses)
        values = torch.stack([losses[key] for key in self.keys])
        values.sum().backward()
        norms = [gradient_norm(optimizer).to(values.device) for optimizer in self.optimizers.values()]
        finite = torch.cat((values.detach(), torch.stack(norms))).isfinite()
        self.finite = finite if self.finite is None else self.finite & finite
        broken = 1.0 - finite.all().float()
        for (name, optimizer), norm in zip(self.optimizers.items(), norms, strict=True):
            # What torch.amp's scaler leaves for a fused step: a divisor of gradients, and whether to take none.
            divisor = (norm / self.settings[name].max_grad_norm).clamp_min(1.0)
            optimizer.grad_scale, optimizer.found_inf = divisor, broken  # type: ignore[attr-defined]
            optimizer.step()
        if "encoder" in self.roles:
            self.agent.world_model.after_update()

    def check(self) -> None:
        """At a phase's end: raises ``NotFinite`` if a loss, a gradient or a parameter that it trained is not finite."""
        if self.finite is not None:
            losses = [f"{self.phase}/{key}" for key in self.keys]
            gradients = [
                f"the gradient of {self.phase}.{name} ({', '.join(a.roles)})" for name, a in self.settings.items()
            ]
            finite, self.finite = self.finite.tolist(), None
            broken = [name for name, good in zip(losses + gradients, finite, strict=True) if not good]
            if broken:  # a loss breaks its gradient too, and says more
                raise NotFinite(f"{', '.join([name for name in broken if name in losses] or broken)} is not finite")
        for role in sorted(self.roles):
            norms = torch._foreach_norm([p.detach() for p in self.agent.parameters_of(role)])
            if not torch.isfinite(torch.stack(norms)).all():
                raise NotFinite(f"a parameter of the {role} after the {self.phase} phase is not finite")

    def state_dict(self) -> dict[str, Any]:
        """State of every optimizer by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict``."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])


def gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """The Euclidean norm of all gradients of an optimizer together, a scalar; 0 where there are none."""
    gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) if gradients else torch.zeros(())


def shuffled(count: int, minibatches: int, epochs: int) -> Iterator[Tensor]:
    """Indices of minibatches: in each epoch all of ``count`` once, in a new random order."""
    for _ in range(epochs):
        yield from torch.randperm(count).tensor_split(minibatches)


def loss_keys(losses: TensorDictBase) -> list[str]:
    """The entries that are minimized: those named ``loss_*`` (TorchRL's convention)."""
    return [key for key in losses.keys() if key.startswith("loss_")]


class Mean:
    """Running means of the scalars that minibatches report, synchronized once, at the end."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.total = torch.zeros(())
        self.count = 0

    def add(self, scalars: TensorDictBase) -> None:
        """Adds one minibatch's scalars, which have the same names in all of them."""
        self.keys = list(scalars.keys())
        self.total = self.total + torch.stack([value.detach() for value in scalars.values()])
        self.count += 1

    def result(self, prefix: str) -> dict[str, float]:
        """``{prefix/name: mean}``; empty if nothing was added."""
        if not self.keys:
            return {}
        means = [total / self.count for total in self.total.tolist()]
        return {f"{prefix}/{key}": mean for key, mean in zip(self.keys, means, strict=True)}
