"""A certificate as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from planners.certificates.assumptions import Assumption
from planners.certificates.certificate import Bound, Certificate
from planners.certificates.confidence import Estimate
from planners.certificates.evidence import Evidence, PolicyEvidence

MARKS = {True: "holds", False: "FAILS", None: "open"}

#: What each bound is, in the order of the table.
BOUNDS = {
    "value_difference": "Theorem 2, new policy, mean over the states of the data",
    "value_difference_by_length": "Theorem 2, new policy, initial state, by the mean episode length",
    "value_difference_initial": "Theorem 2, new policy, initial state, from whole episodes",
    "dreamer_difference": "Theorem 2, policy before the dream, mean over the states of the data",
    "dreamer_difference_initial": "Theorem 2, policy before the dream, initial state, from whole episodes",
    "zeta": "Theorem 3, zeta, mean over the states of the data",
    "zeta_initial": "Theorem 3, zeta, initial state, from whole episodes",
    "promised_initial": "Theorem 3, the real improvement at least, initial state",
    "representation": "Theorem 4, eps",
}


def told(result: dict[str, Any], certificate: Certificate) -> str:
    """The table.

    Args:
        result: facts of the run: ``env``, ``world_model``, ``planner``, ``seed``, ``checkpoint``, ``env_steps``,
            ``progress``, and ``dreams``: whether an update has a dream there.
        certificate: what is told.
    """
    c, e = certificate, certificate.evidence
    lines = [
        f"{result['env']}  {result['world_model']}  {result['planner']}  seed {result['seed']}",
        f"checkpoint    {result['checkpoint']} ({result['env_steps']} steps), one more update as at "
        f"progress={result['progress']:.4g}" + ("" if result["dreams"] else ", without a dream"),
        "",
        "measured",
        f"  C           {e.C:g}   gamma {e.gamma:g}   {e.samples} episodes, {e.states} states, {e.cuts} cut off",
        _loss("L_R", e.reward, "reward"),
        _loss("L_P", e.transition, "transition, L1 between latents"),
        _loss("L_D", e.termination, "termination"),
        *(_policy(f"the {'new policy' if p is e.end else 'policy before the dream'}", p) for p in e.policies.values()),
        *_by_construction(e),
        "",
        "assumptions",
        *_assumptions(a for a in c.assumptions if a.needed_by),
        "",
        "asked by the paper; our forms do not need it",
        *_assumptions(a for a in c.assumptions if not a.needed_by),
        "",
        "bounds, in units of return",
        *(_bound(c.bounds[name], what) for name, what in BOUNDS.items() if e.start or "before" not in what),
        *_from_the_start(e),
    ]
    return "\n".join(lines) + "\n"


def _loss(name: str, loss: Estimate, what: str) -> str:
    return f"  {name}         {loss.mean:.4g} + {loss.radius:.4g} (radius)   {what}"


def _policy(name: str, p: PolicyEvidence) -> str:
    k = p.lipschitz
    return (
        f"  {name}: D_sup {p.D_sup:.4f}   D_inf {p.D_inf:.4f}   V_max {p.V_max:.4g}\n"
        f"    K_V {k.K_V:.4g}   K_R {k.K_R:.4g}   K_P {k.K_P:.4g}   K_D {k.K_D:.4g}   "
        f"({'given' if k.known else 'lower estimates'})"
    )


def _by_construction(e: Evidence) -> list[str]:
    known = [f"{n} {k:.4g}" for n, k in zip(("K_R", "K_P"), e.by_construction, strict=True) if k is not None]
    what = "by construction, for each action, Euclidean (above: L1); under a policy its own change with z comes on top"
    return [f"  {'   '.join(known)}   {what}"] if known else []


def _assumptions(assumptions: Iterable[Assumption]) -> list[str]:
    return [f"  {MARKS[a.holds]:<6} {a.name}: {a.why}" for a in assumptions]


def _bound(bound: Bound, what: str) -> str:
    if bound.value is None:
        return f"      absent  {what}\n              {bound.verdict}"
    terms = sorted(bound.terms.items(), key=lambda term: -term[1])
    shares = ", ".join(f"{name} {share:.0%}" for name, share in terms if share >= 0.005)
    possible = f"{'worst' if bound.promises else 'largest'} seen: {bound.possible:.4g}"
    return (
        f"  {bound.value:>10.4g}  {what}\n"
        f"              {bound.verdict} ({possible}); probability {bound.probability:.0%}; {shares}"
    )


def _from_the_start(e: Evidence) -> list[str]:
    start, gain = e.episodes, e.improvement
    if start is None:
        return []
    dreamer = "the new policy" if e.start is None else "the policy before the dream"
    dreamt = "diverges" if start.dreamt is None else f"{start.dreamt:.4g}"
    lines = [
        "",
        f"from the initial state, over {start.horizon} steps",
        f"  earned      {start.earned:.4g}   by the behavior policy, discounted",
        f"  dreamt      {dreamt}   by {dreamer}",
    ]
    if gain is not None:
        lines.append(
            f"  improvement {gain.mean:.4g} - {gain.tail:.4g} (what may follow) - {gain.radius:.4g} (radius)   "
            "of the update, in the dream"
        )
    return lines
