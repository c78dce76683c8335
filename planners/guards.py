"""What keeps a phase's whole step inside the importance-ratio neighborhood, exactly, on the states of a batch.

A soft form in the objective only discourages leaving. A guard measures the policy itself against the one that
it must stay near, over every action of every state of the batch, and takes back what went too far.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from planners.neighborhood import Clip, Drift, Surrogate, check_kappa, excess, interval
from planners.optimization import Optimizers
from world_models.names import no_such

#: Log-probabilities ``[M, A]`` of the policy as it stands, on the states of the batch.
Policy = Callable[[], Tensor]


#: Share of a phase's step below which its projection looks no further, and keeps nothing.
_LEAST = 1e-4


class Watch:
    """Follows one phase. This one lets everything pass: the soft forms ``clip`` and ``drift``."""

    def step(self) -> bool:
        """Called after each minibatch's update; False ends the phase."""
        return True

    def close(self) -> dict[str, float]:
        """Called once, at the phase's end; returns what is to be logged."""
        return {}


class Guard(ABC):
    """Builds a ``Watch`` for each run of a phase."""

    @abstractmethod
    def watch(self, policy: Policy, reference: Tensor, C: float, optimizers: Optimizers) -> Watch:  # noqa: N803
        """Starts to follow a phase.

        Args:
            policy: the policy that the phase moves, now inside the neighborhood.
            reference: log-probabilities ``[M, A]`` of the policy in whose neighborhood it must stay.
            C: the neighborhood constant.
            optimizers: what the phase trains with.
        """


class Free(Guard):
    """No guard: the objective's soft form is all that holds the policy."""

    def watch(self, policy: Policy, reference: Tensor, C: float, optimizers: Optimizers) -> Watch:  # noqa: N803
        """A watch that lets everything pass."""
        return Watch()


class _StopWatch(Watch):
    def __init__(self, policy: Policy, reference: Tensor, C: float, optimizers: Optimizers) -> None:  # noqa: N803
        self.policy, self.reference, self.C, self.optimizers = policy, reference, C, optimizers
        self.steps = 0
        self._remember()

    def _remember(self) -> None:
        self.parameters = [p.detach().clone() for p in self.optimizers.agent.parameters()]
        self.state = copy.deepcopy(self.optimizers.state_dict())

    @torch.no_grad()
    def step(self) -> bool:
        if excess(self.reference, self.policy(), self.C) > 1.0:
            for parameter, before in zip(self.optimizers.agent.parameters(), self.parameters, strict=True):
                parameter.copy_(before)
            self.optimizers.load_state_dict(self.state)
            return False
        self.steps += 1
        self._remember()
        return True

    def close(self) -> dict[str, float]:
        return {"updates": float(self.steps)}


class Stop(Guard):
    """Ends the phase at the first minibatch after which the policy is outside, and undoes that one update,
    the optimizers' moments included. Measures after every minibatch."""

    def watch(self, policy: Policy, reference: Tensor, C: float, optimizers: Optimizers) -> Watch:  # noqa: N803
        """See the class."""
        return _StopWatch(policy, reference, C, optimizers)


class _ProjectWatch(Watch):
    def __init__(
        self,
        policy: Policy,
        reference: Tensor,
        C: float,  # noqa: N803
        optimizers: Optimizers,
        tolerance: float,
        evaluations: int,
    ) -> None:
        self.policy, self.reference, self.C = policy, reference, C
        self.tolerance, self.evaluations = tolerance, evaluations
        self.moving = optimizers.policy_parameters()
        self.start = [p.detach().clone() for p in self.moving]

    @torch.no_grad()
    def close(self) -> dict[str, float]:
        end = [p.detach().clone() for p in self.moving]

        def go(share: float) -> None:
            for parameter, first, last in zip(self.moving, self.start, end, strict=True):
                parameter.copy_(first if share == 0.0 else torch.lerp(first, last, share))

        inside, outside = (0.0, 0.0), (1.0, excess(self.reference, self.policy(), self.C))
        if outside[1] <= 1.0:
            return {"kept": 1.0}
        evaluations = misses = 0
        while evaluations < self.evaluations or (inside[0] == 0.0 and outside[0] > _LEAST):
            go(share := _between(inside, outside) if misses < 2 else (inside[0] + outside[0]) / 2)
            found = (share, excess(self.reference, self.policy(), self.C))
            evaluations += 1
            if found[1] > 1.0:
                outside, misses = found, misses + 1
                continue
            inside, misses = found, 0
            if inside[1] >= 1.0 - self.tolerance:
                break
        go(inside[0])
        return {"kept": inside[0]}


def _between(inside: tuple[float, float], outside: tuple[float, float]) -> float:
    """Where the excess, taken as linear between two (share, excess), is just below 1; never close to an end."""
    (low, small), (high, large) = inside, outside
    guess = (0.99 - small) / max(large - small, 1e-12)
    return low + (high - low) * min(max(guess, 0.05), 0.95)


class Project(Guard):
    """After the phase, the smallest step back, along the straight path of the policy's parameters, to a policy
    that is inside. What belongs to the world model alone keeps its step.

    The path is searched by bracketing (secant steps, kept away from the ends of the bracket, and halving where two in a
    row were outside), because the largest ratio need not grow evenly along it; what is kept was measured inside.

    Args:
        tolerance: how close to the border, relative to its distance from ratio 1, the search ends.
        evaluations: measurements at most, unless none of them was inside; each costs one forward pass over the batch.
    """

    def __init__(self, tolerance: float = 0.05, evaluations: int = 8) -> None:
        self.tolerance, self.evaluations = tolerance, evaluations

    def watch(self, policy: Policy, reference: Tensor, C: float, optimizers: Optimizers) -> Watch:  # noqa: N803
        """See the class."""
        return _ProjectWatch(policy, reference, C, optimizers, self.tolerance, self.evaluations)


@dataclass(frozen=True)
class Neighborhood:
    """How ``N^C`` is held in a phase: a soft form in the objective, and a guard around the whole step.

    Attributes:
        C: the neighborhood constant, strictly between 1 and 2.
        surrogate: the soft form.
        guard: what enforces it.
    """

    C: float
    surrogate: Surrogate
    guard: Guard

    def watch(self, policy: Policy, reference: Tensor, optimizers: Optimizers, share: float = 1.0) -> Watch:
        """Starts to follow a phase, which may use a ``share`` in (0, 1] of the way to the border; the other
        arguments as in ``Guard.watch``."""
        return self.guard.watch(policy, reference, 1.0 + share * (self.C - 1.0), optimizers)

    @property
    def interval(self) -> tuple[float, float]:
        """``[2 - C, C]``."""
        return interval(self.C)


#: The choices of ``planner.neighborhood``, built from ``planner.kappa``, which only ``drift`` reads.
CHOICES: dict[str, Callable[[float], tuple[Surrogate, Guard]]] = {
    "clip": lambda kappa: (Clip(), Free()),
    "drift": lambda kappa: (Drift(kappa), Free()),
    "stop": lambda kappa: (Clip(), Stop()),
    "project": lambda kappa: (Clip(), Project()),
}


def build_neighborhood(choice: str, C: float, kappa: float) -> Neighborhood:  # noqa: N803
    """The neighborhood by the name of its form. Raises ``ValueError`` for what is not allowed."""
    interval(C)
    check_kappa(kappa)  # also where nothing reads it
    if choice not in CHOICES:
        raise no_such("form", "planner.neighborhood", choice, CHOICES)
    return Neighborhood(C, *CHOICES[choice](kappa))
