"""What went on inside the trainings: neighborhood, local losses, latents, certificates, dreams; all over time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dreamspi.reports.charts import Curves, Group, Line, Mark, Section
from dreamspi.reports.curves import curves
from dreamspi.reports.intervals import Curve, bootstrap_mean
from dreamspi.reports.models import trains_model
from dreamspi.reports.quantities import CERTIFICATES, DREAMS, LATENTS, LOSSES, NEIGHBORHOOD, Quantity
from dreamspi.reports.results import Result, Results
from dreamspi.reports.table import Table

#: By environment and arm, seconds of training over environment steps.
Clocks = Mapping[str, Mapping[str, Curve]]


def sections(results: Results, tables: Mapping[str, Table]) -> list[Section]:
    """The sections of this file that there is anything for; ``tables`` by name."""
    untrained = [arm for arm in results.arms if not trains_model(results, arm)]
    without = f" No curve for what trains no world model: {', '.join(untrained)}." if untrained else ""
    clocks = {env: clock(results, env) for env in results.environments}
    found = [
        Section(
            "neighborhood",
            "Neighborhood",
            ["How far an iteration moves the policy from the one that gathered its data. Theory asks for every ratio "
             "within [2 - C, C]; the clip that training uses is softer than that."],
            _groups(results, clocks, NEIGHBORHOOD),
        ),
        Section(
            "losses",
            "Local losses",
            ["The world model's errors where the behavior policy goes, on every batch before anything has learnt from "
             f"it, in true distances, not in the losses that are trained.{without}"],
            _groups(results, clocks, LOSSES),
            [table for name, table in tables.items() if name.startswith("loss")],
        ),
        Section(
            "latents",
            "Latents",
            ["Whether the encoder keeps states apart. A rank near 1 and ever more dead units are a collapse."],
            _groups(results, clocks, LATENTS),
            [table for name, table in tables.items() if name == "maze"],
        ),
        Section(
            "certificates",
            "Certificates",
            ["What the theorems promise for each new policy, in units of return, on the batch that was learnt from: "
             "optimistic for that. A bound is missing wherever an assumption of it failed, mostly D < 1/gamma."],
            _groups(results, clocks, CERTIFICATES),
        ),
        Section(
            "dreams",
            "Dream quality",
            ["Dreams beside what happened under the same actions, of 1 to T steps, 8 at most, before anything has "
             f"learnt from the batch.{without}"],
            [*_groups(results, clocks, DREAMS), *_dreams_by_step(results)],
        ),
    ]  # fmt: skip
    return [section for section in found if section]


def clock(results: Results, env: str) -> dict[str, Curve]:
    """Seconds of training over environment steps, of each arm; empty where some arm has none."""
    found = curves(results, "time/seconds", env) if _logged(results.of(env), "time/seconds") else {}
    arms = {run.cell.arm for run in results.of(env)}
    return found if set(found) == arms else {}


def on_clock(curve: Curve, seconds: Curve | None) -> Curve | None:
    """A curve over steps with each point where the arm's trainings were by then, on average, in seconds."""
    return None if seconds is None else curve._replace(x=np.interp(curve.x, seconds.x, seconds.estimate))


def _groups(results: Results, clocks: Clocks, quantities: Iterable[Quantity]) -> list[Group]:
    drawn = [(quantity, _charts(results, clocks, quantity)) for quantity in quantities]
    return [Group(quantity.name, quantity.title, charts, quantity.text) for quantity, charts in drawn if charts]


def _charts(results: Results, clocks: Clocks, quantity: Quantity) -> tuple[Curves, ...]:
    charts = []
    for place, env in enumerate(results.environments):
        lines = []
        for metric, kind in quantity.kinds.items():
            if not _logged(results.of(env), metric):
                continue
            for arm, curve in curves(results, metric, env).items():
                if len(curve.x) and (trains_model(results, arm) or not quantity.modeled):
                    lines.append(Line(arm, curve, kind, on_clock(curve, clocks[env].get(arm))))
        if lines:
            marks = quantity.marks(results.of(env))
            name = f"{quantity.name}-{place}"
            charts.append(Curves(name, env, tuple(lines), quantity.y, marks=marks, log=quantity.log))
    return tuple(charts)


def _logged(runs: Iterable[Result], metric: str) -> bool:
    return any(metric in run.curves and run.curves[metric].notna().any() for run in runs)


# ------------------------------------------------------------------ dream.json, where `dreamspi dream` has been

#: Lists of ``dream.json`` by step, each with its heading and axis.
BY_STEP = {
    "latent_error_relative": ("Latent error, step by step", "relative L1 distance"),
    "reward_error": ("Reward error, step by step", "absolute error"),
    "value_error": ("Value error, step by step", "absolute error"),
}


def _dreams_by_step(results: Results) -> list[Group]:
    read = {run.cell.id: _read_dream(results, run) for run in results.runs}
    if not any(read.values()):
        return []
    groups = []
    for key, (title, y) in BY_STEP.items():
        charts = []
        for place, env in enumerate(results.environments):
            found = {arm: [read[run.cell.id].get(key) for run in results.of(env, arm)] for arm in results.arms}
            lines = [Line(arm, curve) for arm, lists in found.items() if (curve := _by_step(lists)) is not None]
            if lines:
                marks = (Mark("two random states", 1.0),) if key == "latent_error_relative" else ()
                name = f"dream_steps_{key}-{place}"
                charts.append(Curves(name, env, tuple(lines), y, "steps dreamt", marks, steps=False))
        if charts:
            text = "Of the final policy, on new episodes, as dreamspi dream measured it."
            groups.append(Group(f"dream_steps_{key}", title, tuple(charts), text))
    return groups


def _read_dream(results: Results, run: Result) -> dict[str, Any]:
    path = results.path / "runs" / run.cell.id / "dream.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["sampled"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _by_step(lists: Sequence[list[float | None] | None]) -> Curve | None:
    """The mean over trainings after each step that some of them dreamt."""
    known = [values for values in lists if values]
    points = []
    for step in range(max(map(len, known), default=0)):
        values = [values[step] for values in known if step < len(values)]
        interval = bootstrap_mean([math.nan if value is None else value for value in values])
        if interval.n:
            points.append((step + 1, *interval))
    return Curve(*map(np.array, zip(*points, strict=True))) if points else None
