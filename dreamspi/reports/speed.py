"""What the clock says. Nothing else in a report depends on it, so that two reports of one study can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dreamspi.reports.charts import Curves, Dot, Dots, Group, Line, Section
from dreamspi.reports.findings import among
from dreamspi.reports.games import same_game
from dreamspi.reports.intervals import Interval, bootstrap_mean
from dreamspi.reports.outcome import over_time
from dreamspi.reports.results import MACHINE, Results
from dreamspi.reports.seeds import shortfalls
from dreamspi.reports.table import Table
from dreamspi.studies.overview import duration

STEPS, SECONDS = "steps_per_second", "wall_seconds"


def section(results: Results, tables: Sequence[Table]) -> Section:
    """Steps per second, seconds of training, and who is where after equal time; ``tables`` are of the same."""
    rates, times, equal, items = [], [], [], []
    for place, env in enumerate(results.environments):
        rates.append(_dots(results, env, f"speed_steps-{place}", "environment steps per second", STEPS))
        times.append(_dots(results, env, f"speed_seconds-{place}", "seconds of training", SECONDS))
        limit, found = after_equal_time(results, env)
        after = f"score after {duration(limit)}"
        if found:
            dots = tuple(Dot(arm, (arm,), interval) for arm, interval in found.items())
            equal.append(Dots(f"speed_score-{place}", env, dots, after))
            told = among(found, same_game(results, [env]), shortfalls(results, [env], found))
            items.append((f"{env}, {after}:", told))
    text = [
        "Seconds of collecting and learning as each training measured them, with as many others beside it on the same "
        "machine as the study allowed: compare arms, not studies."
    ]
    equal_text = "Score when the fastest arm of that environment was at its end."
    groups = [
        Group("speed_steps", "Steps per second", tuple(rates)),
        Group("speed_seconds", "Wall-clock", tuple(times)),
        *([Group("speed_score", "Score after equal time", tuple(equal), equal_text)] if equal else []),
    ]
    return Section("speed", "Speed", text, groups, tables, unequal(results), items, clock=True)


def unequal(results: Results) -> list[str]:
    """Where trainings in one environment had not the same of the machine, a sentence each."""
    told = []
    for key, by_arm in results.differences().items():
        if key in MACHINE:
            each = ", ".join(f"{arm} {' or '.join(values)}" for arm, values in by_arm.items())
            told.append(
                f"Not all trainings had the same {key} ({each}): speed, seconds and scores after equal time are "
                "of that, too."
            )
    return told


def curves_on_clock(learning: Group) -> Group | None:
    """The learning curves over seconds, for a figure file: in the page the axis switches."""
    charts = []
    for chart in learning.charts:
        assert isinstance(chart, Curves)
        lines = [Line(line.arm, line.clock, line.kind) for line in chart.lines if line.clock is not None]
        if lines:
            charts.append(
                Curves(chart.name, chart.title, tuple(lines), chart.y, "seconds of training", chart.marks, steps=False)
            )
    return Group("speed_learning_curves", "Learning curves over time", tuple(charts)) if charts else None


def after_equal_time(results: Results, env: str) -> tuple[float, dict[str, Interval]]:
    """Seconds until all trainings of the fastest arm had ended, and the score of each arm after them."""
    found = over_time(results, env)
    limit = min((float(curve.x[-1]) for curve in found.values()), default=0.0)
    begun = {arm: curve for arm, curve in found.items() if curve.x[0] <= limit}
    return limit, {arm: curve.at(int(np.searchsorted(curve.x, limit, "right")) - 1) for arm, curve in begun.items()}


def _arms(results: Results, env: str) -> list[str]:
    return [arm for arm in results.arms if results.of(env, arm)]


def _dots(results: Results, env: str, name: str, x: str, key: str) -> Dots:
    found = [(arm, _of(results, env, arm, key)) for arm in _arms(results, env)]
    return Dots(name, env, tuple(Dot(arm, (arm,), interval) for arm, interval in found if interval.n), x)


def _of(results: Results, env: str, arm: str, key: str) -> Interval:
    return bootstrap_mean([float(run.summary.get(key) or "nan") for run in results.of(env, arm)])
