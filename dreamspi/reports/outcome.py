"""What the trainings ended with: learning curves, final scores, and over the environments of a suite, aggregates."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from dreamspi.reports import statistics
from dreamspi.reports.charts import Curves, Dot, Dots, Group, Line, Mark, Section
from dreamspi.reports.curves import SCORE, curves
from dreamspi.reports.findings import intervals
from dreamspi.reports.intervals import Curve, Interval, bootstrap_mean
from dreamspi.reports.normalization import KINDS, scale
from dreamspi.reports.results import Results
from dreamspi.reports.scores import measures, scores, suites
from dreamspi.reports.table import Table


def sections(results: Results, tables: Mapping[str, Table]) -> list[Section]:
    """The sections of this file that there is anything for; ``tables`` by name."""
    of = suites(results)
    found = [
        Section(
            "curves",
            "Learning curves",
            groups=_kept([learning_curves(results), final(results)]),
            tables=[tables[name] for name in ("scores", "published") if name in tables],
        ),
        Section(
            "aggregates",
            "Aggregates",
            ["Final scores, normalized, over the environments and seeds of a suite. The interquartile mean (IQM) "
             "leaves out the lowest and the highest quarter; the optimality gap is the mean shortfall below 1, so "
             "lower is better."],
            _kept([_aggregates(results, tables, suite) for suite in of]),
            [table for name, table in tables.items() if name.startswith("aggregates_")],
        ),
        Section(
            "profiles",
            "Performance profiles",
            ["Share of trainings with a normalized score above each level: a curve that lies above another one "
             "everywhere is better everywhere."],
            _kept([_profiles(results, of)]),
        ),
        Section(
            "improvement",
            "Probability of improvement",
            ["How likely a training of the first arm ends above one of the second in the same environment; 0.5 is "
             "no difference."],
            _kept([_improvements(tables, of)]),
        ),
        Section(
            "efficiency",
            "Sample efficiency",
            ["Interquartile mean of the normalized score while training."],
            _kept([_efficiency(results, of)]),
        ),
    ]  # fmt: skip
    return [section for section in found if section]


def score_name(results: Results, env: str) -> str:
    """What a score is there."""
    return "value at the start" if env in results.exact else "mean return"


def final_scores(results: Results, env: str) -> dict[str, Interval]:
    """The mean of the final scores of each arm, over seeds."""
    found = {arm: bootstrap_mean([run.score for run in results.of(env, arm)]) for arm in results.arms}
    return {arm: interval for arm, interval in found.items() if interval.n}


def over_time(results: Results, env: str) -> dict[str, Curve]:
    """The score of each arm over seconds of training; empty where the clock was not logged."""
    logged = all("time/seconds" in run.curves for run in results.of(env))
    return curves(results, SCORE, env, "seconds") if logged else {}


def learning_curves(results: Results) -> Group:
    """One chart an environment."""
    charts = []
    for place, env in enumerate(results.environments):
        timed = over_time(results, env)
        lines = tuple(Line(arm, curve, clock=timed.get(arm)) for arm, curve in curves(results, SCORE, env).items())
        exact = [run for run in results.of(env) if run.exact]
        optimum = {float(run.summary.get("maze_optimum", math.nan)) for run in exact}
        marks = tuple(Mark(f"optimum {best:.4g}", best) for best in sorted(optimum) if math.isfinite(best))
        if lines:
            charts.append(Curves(f"learning_curves-{place}", env, lines, score_name(results, env), marks=marks))
    return Group("learning_curves", "Score while training", tuple(charts), " ".join(measures(results)))


def final(results: Results) -> Group:
    """One chart an environment."""
    charts = [
        Dots(f"final_scores-{place}", env, _dots(final_scores(results, env)), score_name(results, env))
        for place, env in enumerate(results.environments)
    ]
    return Group("final_scores", "Score at the end", tuple(chart for chart in charts if chart.dots))


def _aggregates(results: Results, tables: Mapping[str, Table], suite: str) -> Group:
    charts = []
    table = tables.get(f"aggregates_{suite}")
    for place, name in enumerate(statistics.AGGREGATES if table else ()):
        assert table is not None
        dots = _dots(intervals(table.frame[table.frame["aggregate"] == name]))
        charts.append(Dots(f"aggregates_{suite}-{place}", name, dots, "normalized score"))
    runs = [run for env in scores(results, suite).environments for run in results.of(env)]
    kinds = {measure.kind for run in runs if (measure := scale(run))}
    text = "; ".join(KINDS[kind] for kind in sorted(kinds))
    return Group(f"aggregates_{suite}", suite, tuple(charts), text[:1].upper() + text[1:] + ".")


def _profiles(results: Results, of: Sequence[str]) -> Group:
    charts = []
    for place, suite in enumerate(of):
        found = statistics.profiles(results, suite, _levels(results, suite))
        lines = tuple(Line(arm, curve) for arm, curve in found.items())
        y, x = "share of trainings above", "normalized score"
        charts.append(Curves(f"profiles-{place}", suite, lines, y, x, steps=False))
    return Group("profiles", "Share above each score", tuple(chart for chart in charts if chart.lines))


def _levels(results: Results, suite: str) -> list[float] | None:
    """From just below the lowest score to just above the highest: where the profiles tell arms apart."""
    matrices = scores(results, suite).matrices.values()
    everything = np.concatenate([matrix.scores.ravel() for matrix in matrices]) if matrices else np.empty(0)
    if not everything.size:
        return None
    low, high = float(everything.min()), float(everything.max())
    around = 0.03 * (high - low) or 0.03
    return np.linspace(low - around, high + around, 101).tolist()


def _improvements(tables: Mapping[str, Table], of: Sequence[str]) -> Group:
    """Each pair once, the later arm first: arms are mostly listed from the known to the new."""
    pairs = tables["pairs"].frame.to_dict("records") if "pairs" in tables else []
    charts = []
    for place, suite in enumerate(of):
        rows = [row for row in pairs if row["where"] == suite and row["measure"] == "IQM"]
        dots = tuple(Dot(f"{row['b']} over {row['a']}", (row["b"], row["a"]), _b_above_a(row)) for row in rows)
        half = (Mark("no difference", 0.5),)
        charts.append(Dots(f"improvement-{place}", suite, dots, "probability of improvement", half))
    return Group("improvement", "Pairs of arms", tuple(chart for chart in charts if chart.dots))


def _b_above_a(row: Mapping[Hashable, Any]) -> Interval:
    estimate, low, high = (1 - row[f"a_above_b_{end}"] for end in ("estimate", "high", "low"))
    return Interval(estimate, low, high, int(row["a_above_b_n"]))


def _efficiency(results: Results, of: Sequence[str]) -> Group:
    charts = []
    for place, suite in enumerate(of):
        logged = all("time/seconds" in run.curves for run in results.runs)
        timed = statistics.efficiency(results, suite, "seconds") if logged else {}
        found = statistics.efficiency(results, suite)
        lines = tuple(Line(arm, curve, clock=timed.get(arm)) for arm, curve in found.items())
        charts.append(Curves(f"efficiency-{place}", suite, lines, "IQM, normalized score"))
    return Group("efficiency", "IQM while training", tuple(chart for chart in charts if chart.lines))


def _dots(found: dict[str, Interval]) -> tuple[Dot, ...]:
    return tuple(Dot(arm, (arm,), interval) for arm, interval in found.items())


def _kept(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.charts]
