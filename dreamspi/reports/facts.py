"""What belongs to a comparison besides its results, as tables: settings, versions, failures, speed, others' scores."""

from __future__ import annotations

import math

import pandas as pd

from dreamspi.reports.intervals import bootstrap_mean
from dreamspi.reports.normalization import suite
from dreamspi.reports.published import cite, ppo_scores
from dreamspi.reports.results import Results
from dreamspi.reports.seeds import shortfall
from dreamspi.reports.table import Table, crossed, long

#: Which published scores were made under a suite's protocol. No one published PPO under that of Machado et al. here.
SAME_PROTOCOL = {
    "atari": ("baselines_ppo2", "cleanrl_truncation", "cleanrl_envpool", "cleanrl_envpool_vclip"),
    "atari_stochastic": ("stochastic_highest",),
}
#: Of the published scores.
PUBLISHED_STEPS = 10_000_000


def differences(results: Results) -> Table:
    """Every setting in which two arms differ, or trainings of one."""
    rows = [[key, *map(" or ".join, by_arm.values())] for key, by_arm in results.differences().items()]
    frame = pd.DataFrame(rows, columns=["setting", *results.arms], dtype=object)
    notes = ["A dash: the arm has no such setting, or is not in the environment that is told of."]
    mixed = mixtures(results)
    notes += mixed or ["Everything else is the same in all arms, but for the seeds."]
    return Table("differences", "What differs between the arms", frame, frame, tuple(notes))


def mixtures(results: Results) -> list[str]:
    """Which arms' means are over trainings that differ in more than their seeds, a sentence each."""
    return [
        f"The trainings of arm {arm} differ among themselves in {', '.join(keys)}: its numbers are not of one "
        "configuration."
        for arm, keys in results.unlike().items()
    ]


def versions(results: Results) -> Table:
    """Which versions of what, and of this code, the trainings ran with."""
    counts: dict[tuple[str, str], int] = {}
    for run in results.runs:
        for key, value in sorted(run.summary.items()):
            if key == "git_revision" or key.startswith("version_"):
                at = key.removeprefix("version_"), "unknown" if value is None else str(value)
                counts[at] = counts.get(at, 0) + 1
    frame = pd.DataFrame(
        [(*key, count) for key, count in sorted(counts.items())], columns=["of", "version", "trainings"]
    )
    names = frame["of"].tolist()
    mixed = sorted({name for name in names if names.count(name) > 1})
    notes = (f"Not all trainings ran with the same: {', '.join(mixed)}.",) if mixed else ()
    return Table("versions", "Versions", frame, frame.astype(str).astype(object), notes)


def failures(results: Results) -> Table:
    """The trainings that failed, with the reason, and those that are not finished."""
    rows = [(id, "failed", reason) for id, reason in results.failed.items()]
    rows += [(id, "not finished", "–") for id in results.unfinished]
    frame = pd.DataFrame(rows, columns=["training", "state", "reason"], dtype=object)
    done = f"{len(results.runs)} trainings are finished, {len(results.failed)} failed, {len(results.unfinished)} open."
    return Table("failures", "Failures", frame, frame, (done,))


def speed(results: Results) -> Table:
    """Environment steps per second and seconds of training, by environment and arm."""
    rows = []
    for env in results.environments:
        for arm in results.arms:
            for measure, key in (("steps per second", "steps_per_second"), ("seconds", "wall_seconds")):
                interval = bootstrap_mean([float(run.summary.get(key, math.nan)) for run in results.of(env, arm)])
                if interval.n:
                    rows.append(({"environment": env, "arm": arm, "measure": measure}, interval))
    cells = {(f"{of['environment']}, {of['arm']}", of["measure"]): interval for of, interval in rows}
    notes = (
        "Of whole trainings: collecting and learning. Mean over the seeds, with a 95% bootstrap interval.",
        "Trainings that ran side by side on one machine slow each other down.",
    )
    return Table("speed", "Speed", long(rows), crossed(cells, "environment, arm"), notes, timed=True)


def published(results: Results) -> Table:
    """Our PPO in Atari beside the scores that others published under the same protocol; empty elsewhere."""
    rows, used = [], []
    budgets: set[int] = set()
    for env in results.environments:
        keys = SAME_PROTOCOL.get(suite(env), ())
        found = [score for score in ppo_scores().get(env.partition("/")[2], ()) if score.source in keys]
        if not found:
            continue
        for arm in results.arms:
            ours = [run for run in results.of(env, arm) if run.summary.get("planner") == "ppo"]
            interval = bootstrap_mean([run.score for run in ours])
            if interval.n:
                text = f"{interval.text()} {shortfall(results, [env], arm, interval.n)}"
                budgets |= {run.cell.steps for run in ours}
                steps = max(int(run.summary.get("env_steps", 0)) for run in ours)
                rows.append((env, f"ours, {arm}", steps, *interval[:3], math.nan, interval.n, text.rstrip()))
        for score in found:
            text = f"{score.mean:.2f} ± {score.std:.2f}"
            nothing = math.nan, math.nan
            rows.append((env, score.source, PUBLISHED_STEPS, score.mean, *nothing, score.std, score.seeds, text))
            used.append(score.source)
    columns = ["environment", "source", "steps", "mean", "low", "high", "std", "seeds", "shown"]
    frame = pd.DataFrame(rows, columns=columns)
    order = dict.fromkeys(source for _, source, *_ in rows)
    cells = {(row[0], row[1]): row[-1] for row in rows}
    shown = pd.DataFrame(
        [[env, *(cells.get((env, source), "–") for source in order)] for env in dict.fromkeys(row[0] for row in rows)],
        columns=["environment", *order],
        dtype=object,
    )
    notes = ["Ours: mean over the seeds with a 95% bootstrap interval; theirs: mean ± standard deviation over seeds."]
    notes += [f"{key}: {cite(key)}" for key in dict.fromkeys(used)]
    others = sorted(budgets - {PUBLISHED_STEPS})  # what was asked for: a training does whole batches only
    if others:
        notes.append(f"Ours ran for {', '.join(f'{steps:,}' for steps in others)} steps, so they are not comparable.")
    return Table("published", "PPO beside published scores", frame.drop(columns="shown"), shown, tuple(notes))
