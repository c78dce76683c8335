"""Every assumption of Deep SPI's theorems (arXiv 2510.12312), checked one by one, with the bounds that need it.

An estimate from below can refute an assumption, and never prove it: such a one is *open*, and the bound conditional.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from planners.certificates.bounds import inflation, largest_C, largest_gamma
from planners.certificates.evidence import Evidence, PolicyEvidence

#: The bounds, by name. ``Certificate`` says what each is.
STEP = ("value_difference", "value_difference_by_length", "representation")
INITIAL = ("value_difference_initial",)
STEP_START = ("dreamer_difference",)
INITIAL_START = ("dreamer_difference_initial",)
STEP_BOTH = ("zeta", "promised")
INITIAL_BOTH = ("zeta_initial", "promised_initial")
ALL = STEP + INITIAL + STEP_START + INITIAL_START + STEP_BOTH + INITIAL_BOTH


class Assumption(NamedTuple):
    """One assumption: whether it holds (``None``: open, data can't tell), why, and the names of the bounds that need
    it: none, where only the paper asks for it."""

    name: str
    holds: bool | None
    why: str
    needed_by: tuple[str, ...] = ()


def check(e: Evidence) -> tuple[Assumption, ...]:
    """Every assumption, those of our forms first, then what only the paper asks for."""
    return tuple(sorted((*_of_data(e), *_of_policies(e), *_of_the_dream(e), *_of_the_paper(e)), key=_only_asked))


def _only_asked(assumption: Assumption) -> bool:
    return not assumption.needed_by


def _of_data(e: Evidence) -> Iterator[Assumption]:
    whole = e.episodes is not None
    measured = [loss.upper for loss in (e.reward, e.transition, e.termination)]
    measured += [x for p in e.policies.values() for x in (p.lipschitz.K_V, p.V_max, p.step.upper)]
    yield Assumption("what was measured is finite", all(map(math.isfinite, measured)), "losses, constants, values", ALL)
    yield Assumption(
        "independent samples",
        True if whole else None,
        f"{e.samples} whole episodes of one policy, which the model did not learn from"
        if whole
        else f"{e.samples} environments; the model has just learnt from this batch, so that losses are optimistic",
        ALL,
    )
    yield Assumption(
        "no sample is larger than the largest seen",
        None,
        "the confidence radii count on it: a step's loss, a sum over an episode, an episode's length",
        ALL,
    )
    yield Assumption(
        "the states are from the stationary distribution of pi_b",
        True if whole else None,
        "whole episodes from their initial states on" if whole else "a batch goes on where that before it ended",
        STEP + STEP_START + STEP_BOTH,
    )
    yield Assumption(
        "what follows a cut is bounded",
        True if not e.cuts else False if e.gamma >= 1.0 else None,
        f"{e.cuts} episodes were cut off by a time limit"
        + ("; by the largest reward seen, over 1 - gamma, and V_max" if e.cuts else ""),
        ALL,
    )


def _of_policies(e: Evidence) -> Iterator[Assumption]:
    for when, policy in e.policies.items():
        step = (STEP if policy is e.end else STEP_START) + STEP_BOTH
        initial = (INITIAL if policy is e.end else INITIAL_START) + INITIAL_BOTH
        D, limit = policy.D_sup, largest_C(e.gamma)  # noqa: N806
        finite = inflation(D, e.gamma) is not None
        yield Assumption(f"D{when} < 1/gamma", finite, f"measured D = {D:.4f}, 1/gamma = {limit:.4f}", step)
        yield Assumption(f"D{when} is finite", math.isfinite(D), f"measured D = {D:.4f}", initial)
        yield Assumption(
            f"D{when} is that of all states",
            None,
            f"it is the largest ratio over the {e.states} states of the data",
            step + initial,
        )
        yield from _of_the_value(e, when, policy, step + initial)


def _of_the_value(e: Evidence, when: str, policy: PolicyEvidence, needed_by: tuple[str, ...]) -> Iterator[Assumption]:
    k = policy.lipschitz
    if k.known:
        why = "from the given K_R, K_P and K_D" + (" and V_max" if k.K_D else "")
        yield Assumption(f"K_P{when} < 1/gamma", k.K_P * e.gamma < 1.0, f"given K_P = {k.K_P:.4g}", needed_by)
    else:
        why = "a lower estimate, from the critic on pairs of states"
    proven = True if k.known and not k.K_D else None
    yield Assumption(f"the latent value{when} is K_V-Lipschitz", proven, f"K_V = {k.K_V:.4g}, {why}", needed_by)
    yield Assumption(
        f"the critic{when} is the latent value",
        None,
        f"mean Bellman residual in the model {policy.bellman:.4g}; V_max = {policy.V_max:.4g}"
        + (" rests on it" if k.known else " and K_V rest on it"),
        needed_by,
    )


def _of_the_dream(e: Evidence) -> Iterator[Assumption]:
    yield Assumption(
        "encoder and model fixed (Theorem 3)",
        e.start is not None,
        "a dream moves the heads alone" if e.start is not None else "there was no dream",
        STEP_BOTH + INITIAL_BOTH,
    )
    if e.start is None:
        return
    gain = e.improvement
    possible = gain is not None and abs(gain.mean) <= e.largest
    why = "its latents or rewards leave all bounds: the dream diverges"
    if gain is not None:
        why = f"{gain.mean:.4g} in the dream; the largest difference of two returns seen is {e.largest:.4g}"
    yield Assumption("the dreamt improvement is possible", possible, why, ("promised", "promised_initial"))


def _of_the_paper(e: Evidence) -> Iterator[Assumption]:
    limit = largest_C(e.gamma)
    yield Assumption(
        "C < 1/gamma",
        limit > e.C,
        f"C = {e.C:g}: that D < 1/gamma follows from the neighborhood asks for C < {limit:.4f} at this gamma, or "
        f"for gamma < {largest_gamma(e.C):.4f} at this C; the bounds use the measured D instead",
    )
    yield Assumption("equal supports", e.end.D_inf > 0.0, f"measured D_inf = {e.end.D_inf:.4f}; D_sup is all we need")
    yield Assumption("gamma > 1/2", e.gamma > 0.5, f"gamma = {e.gamma:g}")
    k = e.end.lipschitz
    if not k.known:
        refuted = not k.K_P * e.gamma < 1.0
        why = f"K_P = {k.K_P:.4g}, a lower estimate; K_V is estimated itself"
        yield Assumption("K_P < 1/gamma", False if refuted else None, why)
