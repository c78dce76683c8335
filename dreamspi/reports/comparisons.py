"""What may be said of the differences between arms: every two of them, in scores and in local losses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from dreamspi.reports import statistics
from dreamspi.reports.games import other_games, same_game
from dreamspi.reports.intervals import FEWEST_SEEDS, Interval, Verdict, bootstrap_mean, cautions, verdict
from dreamspi.reports.models import comparable
from dreamspi.reports.results import Result, Results
from dreamspi.reports.scores import scores, suites
from dreamspi.reports.seeds import shortfalls
from dreamspi.reports.table import Table

#: The paper's losses and the metrics that measure them, in true distances on fresh data.
LOSSES = {"L_P": "model/transition_distance", "L_R": "model/reward_distance"}
#: By arm and name, the aggregates of one suite.
Aggregates = Mapping[str, Mapping[str, Interval]]


def pairs(results: Results, known: Mapping[str, Aggregates] | None = None) -> Table:
    """For every two arms that play the same, by environment and suite: what may be said of their scores' difference.
    ``known`` are the suites' aggregates, where they are known already."""
    known = known or {suite: statistics.aggregates(results, suite) for suite in suites(results)}
    found = [pair for suite, by_arm in known.items() for pair in _in_suite(results, suite, by_arm)]
    for env in results.environments:
        for group in same_game(results, [env]):
            found += _in_environment(results, env, "score", score, group)
    notes = ("P(a > b): a training of the first beats one of the second in the same environment; ties count half.",)
    others = other_games(results, results.environments)
    return _paired("pairs", "Differences between scores", found, ("Higher is better.", *notes, *others))


def loss_pairs(results: Results) -> Table:
    """For every two arms whose losses may be compared, by environment: what may be said of the difference."""
    values = {name: partial(typical, metric=metric) for name, metric in LOSSES.items()}
    found = [
        pair
        for name, value in values.items()
        for env in results.environments
        for group in comparable(results, name, [env])
        for pair in _in_environment(results, env, name, value, group)
    ]
    notes = ("Lower is better.", "L_P is compared only between arms with the same world model.")
    return _paired("loss_pairs", "Differences between local losses", found, notes)


def _paired(name: str, title: str, found: list[Pair], notes: tuple[str, ...]) -> Table:
    frame = pd.DataFrame([_numbers(pair) for pair in found])
    columns = ["where", "measure", "a", "b", "of a", "of b", "P(a > b)", "verdict"]
    shown = pd.DataFrame([_words(pair) for pair in found], columns=columns, dtype=object)
    if all(pair.a_above_b is None for pair in found):
        shown = shown.drop(columns="P(a > b)")
    said = (
        "A difference is called one only where the 95% intervals lie apart and each rests on at least "
        f"{FEWEST_SEEDS} seeds.",
        "Many pairs are compared here: some lie apart by chance.",
    )
    return Table(name, title, frame, shown, (*said, *notes, *cautions(pair.of_a for pair in found)))


class Pair(NamedTuple):
    """Two arms and a measure of both, in one environment or suite; ``short`` are their missing seeds."""

    where: str
    measure: str
    a: str
    b: str
    of_a: Interval
    of_b: Interval
    a_above_b: Interval | None
    short: Mapping[str, str]


def _in_environment(
    results: Results, env: str, measure: str, value: Callable[[Result], float], arms: Sequence[str]
) -> Iterator[Pair]:
    found = {arm: bootstrap_mean([value(run) for run in results.of(env, arm)]) for arm in arms}
    short = shortfalls(results, [env], found)
    for a, b in itertools.combinations(found, 2):
        if found[a].n and found[b].n:
            yield Pair(env, measure, a, b, found[a], found[b], None, short)


def _in_suite(results: Results, suite: str, known: Aggregates) -> Iterator[Pair]:
    found = {arm: by_name["IQM"] for arm, by_name in known.items()}
    above = statistics.improvements(results, suite)
    environments = scores(results, suite).environments
    short = shortfalls(results, environments, found)
    for group in same_game(results, environments):
        for a, b in itertools.combinations([arm for arm in group if arm in found], 2):
            yield Pair(suite, "IQM", a, b, found[a], found[b], above[a, b], short)


def _numbers(pair: Pair) -> dict[str, object]:
    row: dict[str, object] = {"where": pair.where, "measure": pair.measure, "a": pair.a, "b": pair.b}
    for prefix, interval in (("a", pair.of_a), ("b", pair.of_b), ("a_above_b", pair.a_above_b)):
        values = interval or Interval(math.nan, math.nan, math.nan, 0)
        row |= {f"{prefix}_{key}": value for key, value in values._asdict().items()}
    return row | {"verdict": str(verdict(pair.of_a, pair.of_b))}


def _words(pair: Pair) -> list[str]:
    said = verdict(pair.of_a, pair.of_b)
    words = {Verdict.HIGHER: f"{pair.a} higher", Verdict.LOWER: f"{pair.b} higher"}.get(said, str(said))
    above = pair.a_above_b.text() if pair.a_above_b else "–"
    a, b = (f"{of.text()} {pair.short.get(x, '')}".rstrip() for x, of in ((pair.a, pair.of_a), (pair.b, pair.of_b)))
    return [pair.where, pair.measure, pair.a, pair.b, a, b, above, words]


def score(run: Result) -> float:
    """What a training is judged by."""
    return run.score


def typical(run: Result, metric: str) -> float:
    """The median of a metric over a training's log; NaN if it was not logged."""
    values = run.curves[metric].dropna().to_numpy() if metric in run.curves else np.empty(0)
    return float(np.median(values)) if values.size else math.nan
