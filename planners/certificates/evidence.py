"""What a certificate is made from: the record of what was measured for one update. ``gathering`` fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from planners.certificates.bounds import LocalLosses
from planners.certificates.confidence import Estimate
from planners.certificates.imagined import Improvement
from planners.certificates.lipschitz import Lipschitz

#: What makes the error of a model, by name: see ``bounds.model_error``.
PARTS = LocalLosses._fields


@dataclass(frozen=True)
class Settings:
    """How evidence is gathered.

    Attributes:
        p: each confidence radius, and Markov's inequality in Theorem 4, fails with at most this probability.
        horizon: imagined steps over which the dream's improvement is measured.
    """

    p: float
    horizon: int

    def __post_init__(self) -> None:
        if not 0.0 < self.p < 0.5:
            raise ValueError(f"planner.certificate.p={self.p}: a probability above 0 and below 1/2, e.g. 0.05")
        if self.horizon < 1:
            raise ValueError(f"planner.certificate.horizon={self.horizon}: at least 1")


class ModelError(NamedTuple):
    """A mean of the model's error, in units of return: its ``parts`` by name, and the ``radius`` of their sum."""

    parts: Mapping[str, float]
    radius: float

    @property
    def upper(self) -> float:
        """Upper confidence limit of the whole."""
        return sum(self.parts.values()) + self.radius

    def times(self, factor: float) -> ModelError:
        """Multiplied with a number of at least 0."""
        return ModelError({name: factor * part for name, part in self.parts.items()}, factor * self.radius)

    def plus(self, other: ModelError) -> ModelError:
        """Added part by part."""
        return ModelError({n: part + other.parts[n] for n, part in self.parts.items()}, self.radius + other.radius)


@dataclass(frozen=True)
class PolicyEvidence:
    """Of one policy that is latent under the present encoder, whose value the model is asked for.

    Attributes:
        D_sup, D_inf: largest (at least 1) and smallest importance ratio to the behavior policy.
        lipschitz: constants under this policy.
        V_max: largest absolute value of the critic at the latents of the data.
        bellman: mean absolute Bellman residual of the critic in the model.
        step: error of a step, mean over the states of the data.
        episode: error summed over an episode, mean over whole episodes; ``None`` where there are none.
        initial: ``D sum_t (gamma D)^t`` error, mean over whole episodes; ``None`` too where ``D`` is infinite.
    """

    D_sup: float
    D_inf: float
    lipschitz: Lipschitz
    V_max: float
    bellman: float
    step: ModelError
    episode: ModelError | None = None
    initial: ModelError | None = None


@dataclass(frozen=True)
class Episodes:
    """What whole episodes tell of the initial state.

    Attributes:
        horizon: steps over which the two returns that follow are summed: those of a dream, but no more than the
            shortest episode that was cut off.
        earned: mean discounted return of the behavior policy.
        dreamt: mean imagined return, from the same initial states, of the policy that the dream started from, or of
            the new one where there was no dream; ``None`` where it diverges.
        length: mean length in steps.
        largest: the largest difference of two discounted returns seen from an initial state, 0 included.
    """

    horizon: int
    earned: float
    dreamt: float | None
    length: float
    largest: float


@dataclass(frozen=True)
class Evidence:
    """What was measured for one update.

    Attributes:
        gamma: discount.
        C: neighborhood constant.
        p: each radius fails with at most this probability.
        samples: independent units that the radii count: whole episodes, or environments.
        states: states of the data.
        cuts: steps of the data at which a time limit cut an episode off.
        reward, transition, termination: local losses in true metrics, means over the states of the data.
        end: of the new policy.
        start: of the policy that the dream started from; ``None`` where there was no dream.
        largest: the largest difference of two discounted returns seen, from any state to its episode's end (or the
            batch's), 0 included.
        improvement: the dreamt one, from the initial states of whole episodes, or else from states of the data;
            ``None`` where there was no dream or one that diverges.
        episodes: what whole episodes tell, which the model did not learn from; ``None`` where there are none.
        by_construction: Lipschitz constants of reward and transition for each action that the networks guarantee.
    """

    gamma: float
    C: float
    p: float
    samples: int
    states: int
    cuts: int
    reward: Estimate
    transition: Estimate
    termination: Estimate
    end: PolicyEvidence
    start: PolicyEvidence | None
    largest: float
    improvement: Improvement | None = None
    episodes: Episodes | None = None
    by_construction: tuple[float | None, float | None] = (None, None)

    @property
    def policies(self) -> dict[str, PolicyEvidence]:
        """The latent policies: the new one, and that before the dream."""
        return {"": self.end} | ({} if self.start is None else {" before the dream": self.start})

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible, named tuples by their names."""
        return _named(self)


def _named(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    elif hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: _named(entry) for key, entry in value.items()}
    return [_named(entry) for entry in value] if isinstance(value, list | tuple) else value
