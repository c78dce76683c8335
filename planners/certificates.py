"""A certificate: what the theory of Deep SPI (arXiv 2510.12312) promises of one update, in numbers.

It is made from a world model, the policies before and after an update, and data of the behavior policy. Each
assumption is checked and reported; a bound whose assumption fails is absent, never a number. What is only
estimated is said to be: a Lipschitz constant that is found on pairs of states is a *lower* estimate, so that a
bound made with it is conditional on the true constant being no larger.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from planners.bounds import (
    LocalLosses,
    hoeffding_radius,
    inflation,
    largest_C,
    largest_gamma,
    model_error,
    representation,
    safe_improvement,
    value_difference,
    value_lipschitz,
)


class Estimate(NamedTuple):
    """A mean with what Hoeffding's inequality adds to it; ``largest`` is the largest value that was seen."""

    mean: float
    radius: float
    largest: float

    @property
    def upper(self) -> float:
        """Upper confidence limit."""
        return self.mean + self.radius


@dataclass(frozen=True)
class Lipschitz:
    """Lipschitz constants of what the latent policy meets, all in the metric of the latents.

    Attributes:
        K_R: of the latent reward under the policy.
        K_P: of the latent transition under the policy, in W1.
        K_V: of the latent value function.
        known: whether they hold by construction or were given by the user; else they are lower estimates.
    """

    K_R: float
    K_P: float
    K_V: float
    known: bool = False

    @classmethod
    def given(cls, K_R: float, K_P: float, gamma: float) -> Lipschitz:  # noqa: N803
        """Constants that the user vouches for, with ``K_V = K_R / (1 - gamma K_P)``.

        Raises:
            ValueError: negative constants, or ``K_P >= 1/gamma``, for which no such ``K_V`` exists.
        """
        if K_R < 0 or K_P < 0:
            raise ValueError(f"K_R={K_R}, K_P={K_P}: a Lipschitz constant is at least 0")
        K_V = value_lipschitz(K_R, K_P, gamma)
        if K_V is None:
            raise ValueError(
                f"K_P={K_P}: with gamma={gamma} the theory asks for K_P < 1/gamma = {1 / gamma:.4g}; "
                "leave K_R and K_P out to use lower estimates instead"
            )
        return cls(K_R, K_P, K_V, known=True)


@dataclass(frozen=True)
class FromStart:
    """What whole episodes tell of the initial state, each episode one independent sample.

    Attributes:
        bound: Theorem 2's sum ``D sum_t (gamma D)^t (l_R + gamma K_V l_P + gamma V_max l_D)`` over an episode, for the
            new policy.
        bound_start: the same for the policy that the dream started from.
        real: mean discounted return of the behavior policy, as earned.
        dreamt: mean imagined return, from the same initial states, of the policy that the dream started from.
        dream_improvement: mean imagined return of the new policy less ``dreamt``.
        episodes: how many.
        cut: share of them that a time limit cut off, whose sums are too small.
    """

    bound: Estimate
    bound_start: Estimate
    real: float
    dreamt: float
    dream_improvement: float
    episodes: int
    cut: float


@dataclass(frozen=True)
class Evidence:
    """What was measured for one update.

    Attributes:
        gamma: discount.
        C: neighborhood constant.
        D_sup, D_inf: largest and smallest importance ratio of the new policy to the behavior policy.
        D_start: largest ratio to the behavior policy of the policy that the dream started from.
        reward, transition, termination: local losses in true metrics, under the data's distribution.
        lipschitz: the constants.
        V_max: largest absolute value of the critic on the data.
        bellman: mean absolute Bellman residual of the critic in the model.
        reward_range: smallest and largest reward seen, 0 included.
        dream_improvement: mean imagined return of the new policy less that of the policy that the dream started
            from; ``None`` where there was no dream.
        samples: independent units that the radii count.
        p: each radius fails with at most this probability.
        length: average episode length in steps, ``None`` where no episode ended.
        from_start: what whole episodes tell; ``None`` where there are none.
    """

    gamma: float
    C: float
    D_sup: float
    D_inf: float
    D_start: float
    reward: Estimate
    transition: Estimate
    termination: Estimate
    lipschitz: Lipschitz
    V_max: float
    bellman: float
    reward_range: tuple[float, float]
    dream_improvement: float | None
    samples: int
    p: float
    length: float | None = None
    from_start: FromStart | None = None

    @property
    def losses(self) -> tuple[Estimate, Estimate, Estimate]:
        """``L_R``, ``L_P``, ``L_D``."""
        return self.reward, self.transition, self.termination


class Assumption(NamedTuple):
    """One assumption: whether it holds (``None``: can't be checked from data), and why."""

    name: str
    holds: bool | None
    why: str


@dataclass(frozen=True)
class Certificate:
    """The bounds, each in units of return, and what they rest on.

    Attributes:
        evidence: what was measured.
        assumptions: each of them, checked.
        behavior_difference: Theorem 2 for the behavior policy itself (``D = 1``), in expectation over the states of
            the data; it always exists.
        value_difference: the same for the new policy; ``None`` if an assumption fails.
        value_difference_by_length: Theorem 2 for the initial state by way of the average episode length.
        value_difference_start: Theorem 2 for the initial state from whole episodes.
        zeta: Theorem 3's price of trusting the dream, in expectation over the states of the data.
        promised: what Theorem 3 then promises of the real improvement: the dreamt one less ``zeta``.
        zeta_start, promised_start: the same for the initial state, from whole episodes.
        representation: Theorem 4's ``eps`` for ``p``.
        largest: the largest difference that two returns can have at all, by the rewards that were seen.
        terms: share of the bound that each of ``reward``, ``transition``, ``termination`` and ``sampling`` (the
            confidence radii) makes.
    """

    evidence: Evidence
    assumptions: tuple[Assumption, ...]
    behavior_difference: float | None
    value_difference: float | None
    value_difference_by_length: float | None
    value_difference_start: float | None
    zeta: float | None
    promised: float | None
    zeta_start: float | None
    promised_start: float | None
    representation: float | None
    largest: float
    terms: dict[str, float]

    def is_vacuous(self, bound: float | None) -> bool:
        """Whether a bound says nothing: it is absent, or no smaller than the largest possible difference."""
        return bound is None or bound >= self.largest

    @property
    def dominating(self) -> str:
        """The term that makes most of the bound."""
        return max(self.terms, key=lambda name: self.terms[name])

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        found = asdict(self)
        if self.evidence.from_start is not None:
            for key in ("bound", "bound_start"):
                found["evidence"]["from_start"][key] = getattr(self.evidence.from_start, key)._asdict()
        found["assumptions"] = [assumption._asdict() for assumption in self.assumptions]
        for key in ("reward", "transition", "termination"):
            found["evidence"][key] = getattr(self.evidence, key)._asdict()
        limits = {"largest_C": largest_C(self.evidence.gamma), "largest_gamma": largest_gamma(self.evidence.C)}
        vacuous = {name: self.is_vacuous(getattr(self, name)) for name in BOUNDS}
        return found | {"dominating": self.dominating, "vacuous": vacuous} | limits

    def metrics(self) -> dict[str, float]:
        """For the log; what does not exist is left out."""
        e = self.evidence
        found: dict[str, float | None] = {
            "D_sup": e.D_sup,
            "L_R": e.reward.mean,
            "L_P": e.transition.mean,
            "L_D": e.termination.mean,
            "K_V": e.lipschitz.K_V,
            "behavior_difference": self.behavior_difference,
            "value_difference": self.value_difference,
            "zeta": self.zeta,
            "dream_improvement": e.dream_improvement,
            "promised": self.promised,
            "representation": self.representation,
            "largest": self.largest,
            "vacuous": float(self.is_vacuous(self.behavior_difference)),
        }
        return {name: value for name, value in found.items() if value is not None} | {
            f"share_{name}": value for name, value in self.terms.items()
        }


#: The bounds that may be vacuous.
BOUNDS = (
    "behavior_difference",
    "value_difference",
    "value_difference_by_length",
    "value_difference_start",
    "zeta",
    "zeta_start",
    "representation",
)


def certify(evidence: Evidence) -> Certificate:
    """The certificate that the evidence supports."""
    e = evidence
    means = model_error(LocalLosses(*(loss.mean for loss in e.losses)), e.gamma, e.lipschitz.K_V, e.V_max)
    upper = model_error(LocalLosses(*(loss.upper for loss in e.losses)), e.gamma, e.lipschitz.K_V, e.V_max)
    error = sum(upper.values())
    parts = means | {"sampling": error - sum(means.values())}
    bound = value_difference(error, e.D_sup, e.gamma)
    zeta = None if e.dream_improvement is None else safe_improvement(error, error, e.D_sup, e.gamma, e.D_start)
    start = e.from_start
    zeta_start = None if start is None else start.bound.upper + start.bound_start.upper
    return Certificate(
        evidence=e,
        assumptions=check(e),
        behavior_difference=value_difference(error, 1.0, e.gamma),
        value_difference=bound,
        value_difference_by_length=None if bound is None or e.length is None else bound * e.length,
        value_difference_start=None if start is None else start.bound.upper,
        zeta=zeta,
        promised=None if zeta is None or e.dream_improvement is None else e.dream_improvement - zeta,
        zeta_start=zeta_start,
        promised_start=None if start is None or zeta_start is None else start.dream_improvement - zeta_start,
        representation=representation(error, e.D_sup, e.gamma, e.p),
        largest=(e.reward_range[1] - e.reward_range[0]) / max(1.0 - e.gamma, 1e-12),
        terms={name: part / error if error else 0.0 for name, part in parts.items()},
    )


def check(e: Evidence) -> tuple[Assumption, ...]:
    """Every assumption of the theorems, one by one."""
    k = e.lipschitz
    limit = largest_C(e.gamma)
    source = "given by the user" if k.known else "lower estimate on pairs of states of the data"
    return (
        Assumption(
            "D < 1/gamma",
            inflation(e.D_sup, e.gamma) is not None,
            f"measured D = {e.D_sup:.4f}, 1/gamma = {limit:.4f}",
        ),
        Assumption(
            "C < 1/gamma",
            limit > e.C,
            f"C = {e.C:g}: that D < 1/gamma follows from the neighborhood asks for C < {limit:.4f} at this gamma, or "
            f"for gamma < {largest_gamma(e.C):.4f} at this C; the bounds use the measured D instead",
        ),
        Assumption("equal supports", e.D_inf > 0.0, f"measured D_inf = {e.D_inf:.4f}"),
        Assumption("gamma > 1/2", e.gamma > 0.5, f"gamma = {e.gamma:g}"),
        Assumption("K_P < 1/gamma", k.K_P * e.gamma < 1.0, f"K_P = {k.K_P:.4g} ({source})"),
        Assumption(
            "the latent value is K_V-Lipschitz",
            True if k.known else None,
            f"K_V = {k.K_V:.4g} ({'K_R / (1 - gamma K_P)' if k.known else 'lower estimate, from the critic'})",
        ),
        Assumption(
            "the critic is the latent value",
            None,
            f"mean Bellman residual in the model {e.bellman:.4g}; only the lower estimate of K_V and V_max rest on it",
        ),
        Assumption(
            "independent samples",
            None,
            f"{e.samples} units: steps of one trajectory depend on each other, so an environment or episode is one",
        ),
        Assumption(
            "losses bounded by the largest seen",
            None,
            f"reward {e.reward.largest:.4g}, transition {e.transition.largest:.4g}",
        ),
        *_whole_episodes(e.from_start),
        Assumption(
            "encoder and model fixed (Theorem 3)",
            e.dream_improvement is not None,
            "a dream moves the heads alone" if e.dream_improvement is not None else "there was no dream",
        ),
    )


def _whole_episodes(start: FromStart | None) -> tuple[Assumption, ...]:
    if start is None:
        return ()
    why = f"{start.cut:.0%} of {start.episodes} episodes were cut off by a time limit; what would follow is left out"
    return (Assumption("episodes end by themselves", start.cut == 0.0, why),)


def estimate(mean: float, largest: float, samples: int, p: float) -> Estimate:
    """A mean with its radius."""
    return Estimate(mean, hoeffding_radius(largest, samples, p), largest)
