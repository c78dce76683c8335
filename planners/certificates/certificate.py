"""A certificate: what the theory of Deep SPI (arXiv 2510.12312) promises of one update, in numbers.

It is made from a world model, the policies before and after an update, and data of the behavior policy. A bound
with an assumption that fails is absent, and says which; what is only estimated from below makes it conditional, and
is said to be open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from planners.certificates.assumptions import (
    ALL,
    INITIAL,
    INITIAL_BOTH,
    INITIAL_START,
    STEP_BOTH,
    STEP_START,
    Assumption,
    check,
)
from planners.certificates.bounds import inflation, largest_C, largest_gamma, representation
from planners.certificates.evidence import Evidence, ModelError


class Bound(NamedTuple):
    """One bound, or why there is none.

    Attributes:
        value: in units of return; ``None`` if an assumption fails, or something was not measured.
        why_absent: the assumptions that fail, or what was not measured; empty where there is a value.
        probability: with which it holds, as far as chance is concerned, if the open assumptions do.
        possible: the largest difference of two returns that was seen, and its negative for a promise.
        terms: share that each part of the model's error, and ``sampling`` (the confidence radii), has in it.
        promises: whether it bounds from below.
    """

    value: float | None
    why_absent: str
    probability: float
    possible: float
    terms: Mapping[str, float]
    promises: bool = False

    @property
    def vacuous(self) -> bool:
        """Whether it says nothing: it is absent, or no better than what is possible at worst."""
        if self.value is None:
            return True
        return not (self.value > self.possible if self.promises else self.value < self.possible)

    @property
    def verdict(self) -> str:
        """In words."""
        return self.why_absent or ("vacuous" if self.vacuous else "says something")


@dataclass(frozen=True)
class Certificate:
    """The bounds and what they rest on.

    Attributes:
        evidence: what was measured.
        assumptions: each of them, checked.
        bounds: by name, each in units of return:

            - ``value_difference``: Theorem 2 for the new policy, in expectation over the states of the data;
            - ``value_difference_by_length``: for the initial state, by way of the mean episode length: that times the
              mean loss of a step is the mean sum over an episode;
            - ``value_difference_initial``: for the initial state, ``D sum_t (gamma D)^t`` error over whole episodes;
            - ``dreamer_difference``, ``dreamer_difference_initial``: the first and the third for the policy that the
              dream started from, which is latent under the present encoder as the behavior policy is not;
            - ``zeta``, ``zeta_initial``: Theorem 3's price of trusting the dream, the sum of both policies' bounds;
            - ``promised``, ``promised_initial``: what Theorem 3 then promises of the real improvement: the dreamt
              one's lower confidence limit less ``zeta``;
            - ``representation``: Theorem 4's ``eps``.
    """

    evidence: Evidence
    assumptions: tuple[Assumption, ...]
    bounds: Mapping[str, Bound]

    def __getitem__(self, name: str) -> float | None:
        """The value of a bound."""
        return self.bounds[name].value

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        e = self.evidence
        return {
            "evidence": e.to_dict(),
            "assumptions": [assumption._asdict() for assumption in self.assumptions],
            "bounds": {name: bound._asdict() | {"verdict": bound.verdict} for name, bound in self.bounds.items()},
            "largest_C": largest_C(e.gamma),
            "largest_gamma": largest_gamma(e.C),
        }

    def metrics(self) -> dict[str, float]:
        """For the log; what does not exist is left out."""
        e = self.evidence
        found: dict[str, float | None] = {
            "D_sup": e.end.D_sup,
            "L_R": e.reward.mean,
            "L_P": e.transition.mean,
            "L_D": e.termination.mean,
            "K_V": e.end.lipschitz.K_V,
            "dream_improvement": None if e.improvement is None else e.improvement.mean,
            "largest": e.largest,
        }
        found |= {name: self[name] for name in LOGGED}
        found["vacuous"] = None if self["value_difference"] is None else float(self.bounds["value_difference"].vacuous)
        terms = {f"share_{name}": share for name, share in shares(e.end.step).items()}
        return {name: value for name, value in found.items() if value is not None} | terms


#: Bounds of the initial state's value, to be compared with returns from there.
OF_THE_INITIAL_STATE = (*INITIAL, *INITIAL_START, *INITIAL_BOTH, "value_difference_by_length")
#: How many times ``p`` a bound may fail by chance, if more than once: one radius for each policy and for the dream,
#: and twice Markov's inequality in Theorem 4.
RADII = {"zeta": 2, "zeta_initial": 2, "promised": 3, "promised_initial": 3, "representation": 3}
#: What a batch has that is no whole episode.
LOGGED = ("value_difference", "dreamer_difference", "zeta", "promised", "representation")


def certify(evidence: Evidence) -> Certificate:
    """The certificate that the evidence supports."""
    assumptions = check(evidence)
    failing: dict[str, list[str]] = {name: [] for name in ALL}
    for assumption in assumptions:
        for name in assumption.needed_by if assumption.holds is False else ():
            failing[name].append(assumption.name)
    found = _errors(evidence)
    return Certificate(
        evidence, assumptions, {name: _bound(evidence, name, found.get(name), failing[name]) for name in ALL}
    )


def _errors(e: Evidence) -> dict[str, ModelError | None]:
    """What each bound is made of; ``None`` where something was not measured, or has no finite form."""
    end, start = e.end, e.start
    leaving = inflation(end.D_sup, e.gamma)
    step = _times(end.step, leaving)
    step_start = None if start is None else _times(start.step, inflation(start.D_sup, e.gamma))
    initial_start = None if start is None else start.initial
    zeta, zeta_initial = _sum(step, step_start), _sum(end.initial, initial_start)
    return {
        "value_difference": step,
        "value_difference_by_length": _times(end.episode, leaving),
        "value_difference_initial": end.initial,
        "dreamer_difference": step_start,
        "dreamer_difference_initial": initial_start,
        "zeta": zeta,
        "zeta_initial": zeta_initial,
        "promised": zeta if e.episodes is None else None,
        "promised_initial": zeta_initial,
        "representation": _times(end.step, representation(1.0, end.D_sup, e.gamma, e.p)),
    }


def _times(error: ModelError | None, factor: float | None) -> ModelError | None:
    return None if error is None or factor is None else error.times(factor)


def _sum(one: ModelError | None, other: ModelError | None) -> ModelError | None:
    return None if one is None or other is None else one.plus(other)


def _bound(e: Evidence, name: str, error: ModelError | None, failing: list[str]) -> Bound:
    promises = name.startswith("promised")
    gain = e.improvement if promises else None
    why = f"fails: {'; '.join(failing)}" if failing else ""
    if not failing and error is None:
        why = f"not measured: {_missing(e, name)}"
    value = None
    if not why and error is not None:
        value = error.upper if gain is None else gain.lower - error.upper
    largest = e.episodes.largest if e.episodes is not None and name in OF_THE_INITIAL_STATE else e.largest
    return Bound(
        value=value,
        why_absent=why,
        probability=max(1.0 - RADII.get(name, 1) * e.p, 0.0),
        possible=-largest if promises else largest,
        terms={} if error is None else shares(error),
        promises=promises,
    )


def _missing(e: Evidence, name: str) -> str:
    if name in STEP_START + INITIAL_START + STEP_BOTH + INITIAL_BOTH and e.start is None:
        return "there was no dream"
    if name == "promised":
        return "the dreams began at initial states"
    return "there are no whole episodes"


def shares(error: ModelError) -> dict[str, float]:
    """Share of each part and of the radius, as ``sampling``, in an error."""
    return {name: part / error.upper if error.upper else 0.0 for name, part in error.parts.items()} | {
        "sampling": error.radius / error.upper if error.upper else 0.0
    }
