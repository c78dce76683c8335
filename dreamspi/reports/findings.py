"""What may be said of a comparison: only what intervals that lie apart support."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd

from dreamspi.reports.intervals import FEWEST_SEEDS, Interval, Verdict, verdict

#: Arms whose differences can still be told one by one.
MANY = 8
#: Where arms are in several groups.
APART = "Arms whose games or discounts differ are not compared."


def compare(
    found: Mapping[str, Interval], above: str = "above", below: str = "", short: Mapping[str, str] | None = None
) -> str:
    """Sentences on the arms' intervals of one quantity; of more than ``MANY`` arms only where they lie.

    Args:
        found: the interval of each arm.
        above: what an arm is to another one whose interval lies below its own.
        below: the other way round; where it is given, it is told who is lower, and not who is higher.
        short: what is told beside an arm: which of its seeds are missing. Also of arms that have no interval at all.
    """
    short = short or {}
    known = {arm: interval for arm, interval in found.items() if interval.n}
    few = {arm: i for arm, i in known.items() if i.n < FEWEST_SEEDS or not i.is_known}
    enough = {arm: i for arm, i in known.items() if arm not in few}
    sentences = [_ends(enough, short)] if len(enough) > MANY else _differences(enough, above, below, short)
    if few:
        sentences.append(f"Fewer than {FEWEST_SEEDS} seeds, so nothing is called a difference: {_told(few, short)}.")
    nothing = [f"{arm} {text}" for arm, text in short.items() if arm not in known]
    if nothing:
        sentences.append(f"Nothing is known of {', '.join(nothing)}.")
    return " ".join(sentences)


def among(found: Mapping[str, Interval], groups: Sequence[Sequence[str]], short: Mapping[str, str]) -> str:
    """The same, of each group of arms by itself; an arm in none of them has no interval."""
    if len(groups) < 2:
        return compare(found, short=short)
    rest = [arm for arm in short if not any(arm in group for group in groups)]
    told = [
        compare({arm: found[arm] for arm in of if arm in found}, short={arm: short[arm] for arm in of if arm in short})
        for of in (*groups, rest)
    ]
    return " ".join(filter(None, [*told, APART]))


def _differences(known: Mapping[str, Interval], above: str, below: str, short: Mapping[str, str]) -> list[str]:
    """Each difference of a few arms, and whether there are pairs without one."""
    wanted, word = (Verdict.LOWER, below) if below else (Verdict.HIGHER, above)
    verdicts = {(a, b): verdict(known[a], known[b]) for a, b in itertools.permutations(known, 2)}
    beaten: dict[tuple[str, ...], list[str]] = {}
    for arm in known:
        others = tuple(other for other in known if verdicts.get((arm, other)) is wanted)
        if others:
            beaten.setdefault(others, []).append(arm)
    sentences = [_difference(arms, word, others, known, short) for others, arms in beaten.items()]
    if Verdict.OPEN in verdicts.values():
        if sentences:
            sentences.append("Otherwise no difference that the data support.")
        else:
            sentences.append(f"No difference that the data support: {_told(known, short)}.")
    elif len(known) == 1:
        sentences.append(f"{_told(known, short)}.")
    return sentences


def _ends(known: Mapping[str, Interval], short: Mapping[str, str]) -> str:
    """In the place of the differences of many arms."""
    ordered = sorted(known, key=lambda arm: known[arm].estimate, reverse=True)
    first, last = (_told({arm: known[arm]}, short) for arm in (ordered[0], ordered[-1]))
    verdicts = [verdict(a, b) for a, b in itertools.combinations(known.values(), 2)]
    apart = sum(said is not Verdict.OPEN for said in verdicts)
    return (
        f"{len(known)} arms, from {first} down to {last}; the intervals of {apart:,} of their {len(verdicts):,} pairs "
        "lie apart. The tables have each arm."
    )


def intervals(frame: pd.DataFrame) -> dict[str, Interval]:
    """The interval of each arm, from a table's rows with ``arm`` and the interval's columns."""
    columns = frame[["arm", *Interval._fields]]
    return {arm: Interval(estimate, low, high, int(n)) for arm, estimate, low, high, n in columns.itertuples(False)}


def _difference(
    arms: Sequence[str], word: str, others: Sequence[str], known: Mapping[str, Interval], short: Mapping[str, str]
) -> str:
    verb = "are each" if len(arms) > 1 else "is"
    winners, losers = (_told({arm: known[arm] for arm in names}, short, " and ") for names in (arms, others))
    return f"{winners} {verb} {word} {losers}."


def _told(found: Mapping[str, Interval], short: Mapping[str, str], last: str = ", ") -> str:
    words = [f"{arm} {interval.text()} {short.get(arm, '')}".rstrip() for arm, interval in found.items()]
    return last.join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
