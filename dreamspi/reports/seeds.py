"""Seeds that were asked for and are missing: an arm that breaks now and then must not be judged by its survivors
alone, or not without saying so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dreamspi.reports.intervals import Interval
from dreamspi.reports.results import Results


def shortfall(results: Results, environments: Sequence[str], arm: str, n: int) -> str:
    """``(3 of 5 seeds; 2 failed)``; empty where a number rests on as many seeds as were asked for.

    Args:
        results: of the study.
        environments: that the number is of; seeds count that were asked for in each of those that the arm is in.
        arm: whose number it is.
        n: seeds that it rests on.
    """
    asked = [states for env in environments if (states := results.asked.get((env, arm)))]
    seeds = set.intersection(*map(set, asked)) if asked else set()
    if n >= len(seeds):
        return ""
    failed = {seed for seed in seeds if any(states[seed] == "failed" for states in asked)}
    open_ = {seed for seed in seeds if any(states[seed] == "not finished" for states in asked)} - failed
    without = len(seeds) - len(failed) - len(open_) - n
    counts = {"failed": len(failed), "not finished": len(open_), "without a value": without}
    why = ", ".join(f"{count} {what}" for what, count in counts.items() if count > 0)
    return f"({n} of {len(seeds)} seeds; {why})"


def shortfalls(results: Results, environments: Sequence[str], found: Mapping[str, Interval]) -> dict[str, str]:
    """The same by arm, of all that were asked for there and lack some seed, for a number of each."""
    arms = dict.fromkeys(arm for env, arm in results.asked if env in environments)
    told = {arm: shortfall(results, environments, arm, found[arm].n if arm in found else 0) for arm in arms}
    return {arm: text for arm, text in told.items() if text}
