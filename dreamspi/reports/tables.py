"""What the arms reached, as tables: scores, aggregates, local losses, the maze, and which differences are wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from dreamspi.reports import statistics
from dreamspi.reports.comparisons import LOSSES, Aggregates, loss_pairs, pairs, score, typical
from dreamspi.reports.facts import differences, failures, published, speed, versions
from dreamspi.reports.games import other_games
from dreamspi.reports.intervals import Interval, bootstrap_mean, cautions
from dreamspi.reports.models import comparable
from dreamspi.reports.normalization import KINDS, scale
from dreamspi.reports.published import cite
from dreamspi.reports.results import Result, Results
from dreamspi.reports.scores import measures, suites
from dreamspi.reports.scores import scores as matrices
from dreamspi.reports.seeds import shortfalls
from dreamspi.reports.table import Table, crossed, long

#: Facts to stand beside ours.
PAPER = (
    "The paper reports for this protocol, after 10M steps (read off its figure, approximate): IQM 0.61 PPO, "
    "0.61 DeepMDP, 0.66 DeepSPI; optimality gap 0.51, 0.51, 0.47; DreamSPI below both online methods."
)
#: What of the maze is told: column, key of the summary.
MAZE = {
    "value": "maze_value",
    "latent distance": "maze_latent_distance",
    "P(up), upper": "maze_up_upper",
    "P(up), lower": "maze_up_lower",
}


def tables(results: Results) -> list[Table]:
    """All that apply to a study, in the order in which a reader wants them; those of the clock are last."""
    by_suite = {suite: statistics.aggregates(results, suite) for suite in suites(results)}
    found = [scores(results), *(aggregates(results, suite, known) for suite, known in by_suite.items())]
    found += [pairs(results, by_suite), *(losses(results, name) for name in LOSSES), loss_pairs(results)]
    found += [maze(results), published(results), differences(results), versions(results), failures(results)]
    found += [speed(results)]
    return [table for table in found if len(table.frame) or table.name == "failures"]


def scores(results: Results) -> Table:
    """Raw final scores, mean over seeds, by environment and arm."""
    cells = _cells(results, score)
    notes = ["Mean of the final scores over the seeds, with a 95% bootstrap interval."]
    notes += [*measures(results), *other_games(results, results.environments), *cautions(cells.values())]
    shown = crossed(cells, "environment", _short(results, cells))
    return Table("scores", "Final scores", _long(cells), shown, tuple(notes))


def aggregates(results: Results, suite: str, known: Aggregates | None = None) -> Table:
    """IQM, median, mean and optimality gap of normalized scores in a suite, by arm: the paper's table. ``known`` are
    the numbers, where they are known already."""
    found = statistics.aggregates(results, suite) if known is None else known
    cells = {(arm, name): interval for arm, by_name in found.items() for name, interval in by_name.items()}
    frame = long(({"arm": arm, "aggregate": name}, interval) for (arm, name), interval in cells.items())
    whole = matrices(results, suite)
    scales = [measure for env in whole.environments for run in results.of(env) if (measure := scale(run))]
    kinds, cited = {measure.kind for measure in scales}, {measure.source for measure in scales}
    notes = [f"Over {', '.join(whole.environments)}; {KINDS[kind]}." for kind in sorted(kinds)]
    notes += [f"0 and 1 are from: {cite(source)}" for source in sorted(cited)]
    notes += ["Higher is better but for the optimality gap. 95% stratified bootstrap intervals over seeds."]
    notes += [PAPER] if suite == "atari_stochastic" else []
    notes += other_games(results, whole.environments)
    notes += _missing(results, whole.environments, {arm: by_name["IQM"] for arm, by_name in found.items()})
    shown = crossed(cells, "arm")
    return Table(f"aggregates_{suite}", f"Normalized scores, {suite}", frame, shown, (*notes, *whole.messages))


def losses(results: Results, name: str) -> Table:
    """``L_P`` or ``L_R``, by environment and arm, and the median over the environments of a suite."""
    value = partial(typical, metric=LOSSES[name])
    cells = _cells(results, value)
    short, left_out = _short(results, cells), []
    for suite in suites(results):
        found = matrices(results, suite, value)
        if len(found.environments) > 1:
            row = f"median, {suite}"
            medians = {arm: statistics.median(matrix) for arm, matrix in found.matrices.items()}
            cells |= {(row, arm): interval for arm, interval in medians.items()}
            short |= {(row, arm): text for arm, text in shortfalls(results, found.environments, medians).items()}
            left_out += [f"{row}: {message}" for message in found.messages]
    notes = [
        f"{LOSSES[name]} on fresh data: of each training the median over its log, of these the mean over the seeds, "
        "with a 95% bootstrap interval. Lower is better.",
    ]
    if any(run.summary.get("planner") == "ppo" for run in results.runs):
        notes.append("The planner ppo never trains its model.")
    if name == "L_P":
        notes.append(
            "A distance is in units of the latents: an encoder that shrinks them has a smaller one, so read it beside "
            "model/effective_rank."
        )
        notes += dict.fromkeys(_only_within(comparable(results, name, [env])) for env in results.environments)
    shown = crossed(cells, "environment", short)
    notes = [*filter(None, notes), *left_out, *cautions(cells.values())]
    return Table(f"losses_{name}", f"Local loss {name}", _long(cells), shown, tuple(notes))


def _only_within(groups: Sequence[Sequence[str]]) -> str:
    """Which arms' latents have the same units; empty where all have."""
    if len(groups) < 2:
        return ""
    same = " or among ".join(", ".join(group) for group in groups if len(group) > 1)
    return f"World models differ, and with them the latents' units: compare {'only among ' + same if same else 'none'}."


def maze(results: Results) -> Table:
    """Exact value, distance of the choice cells' latents, and the probability of going up there, by arm."""
    runs = {arm: results.of("maze", arm) for arm in results.arms if results.of("maze", arm)}
    cells = {
        (arm, column): bootstrap_mean([float(run.summary.get(key, math.nan)) for run in found])
        for arm, found in runs.items()
        for column, key in MAZE.items()
    }
    optima = sorted({float(run.summary["maze_optimum"]) for run in results.of("maze") if "maze_optimum" in run.summary})
    notes = [f"The best policy's value is {', '.join(f'{optimum:.4f}' for optimum in optima)}."] if optima else []
    notes += [
        "Mean over seeds, with a 95% bootstrap interval; a distance of 0 means that the encoder merges the cells."
    ]
    notes += ["In the upper choice cell, up is the best action; in the lower, the worst."]
    notes += _missing(results, ["maze"], {arm: cells[arm, "value"] for arm in runs})
    frame = long(({"arm": arm, "measure": column}, interval) for (arm, column), interval in cells.items())
    return Table("maze", "The maze", frame, crossed(cells, "arm"), tuple(notes))


def _cells(results: Results, value: Callable[[Result], float]) -> dict[tuple[str, str], Interval]:
    """By environment and arm, the mean over seeds; where there is no value, nothing."""
    found = {
        (env, arm): bootstrap_mean([value(run) for run in results.of(env, arm)])
        for env in results.environments
        for arm in results.arms
    }
    return {key: interval for key, interval in found.items() if interval.n}


def _short(results: Results, cells: Mapping[tuple[str, str], Interval]) -> dict[tuple[str, str], str]:
    """By environment and arm, which seeds are missing."""
    short: dict[tuple[str, str], str] = {}
    for env in results.environments:
        found = {arm: cells[env, arm] for arm in results.arms if (env, arm) in cells}
        short |= {(env, arm): text for arm, text in shortfalls(results, [env], found).items()}
    return short


def _missing(results: Results, environments: Sequence[str], found: Mapping[str, Interval]) -> list[str]:
    """A note on missing seeds, if there are any."""
    short = shortfalls(results, environments, found)
    return [f"Missing seeds: {', '.join(f'{arm} {text}' for arm, text in short.items())}."] if short else []


def _long(cells: dict[tuple[str, str], Interval]) -> pd.DataFrame:
    return long(({"environment": env, "arm": arm}, interval) for (env, arm), interval in cells.items())
