"""A study's finished trainings in memory: what every statistic, table and figure of a report is made from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dreamspi.config import load
from dreamspi.errors import UserError
from dreamspi.metrics_file import STEP, read_table
from dreamspi.studies.design import Cell, settings
from dreamspi.studies.store import State, Study

#: The exact value at the start, of a policy in the maze without a memory.
EXACT = "maze_value"
#: Settings that no result depends on, and the clock does.
MACHINE = ("device", "threads")
#: Of a setting that there is not.
ABSENT = "–"


@dataclass(frozen=True)
class Result:
    """One finished training.

    Attributes:
        cell: which one.
        settings: its configuration, by dotted key; without what neither a result nor the clock depends on.
        summary: its ``summary.json``.
        curves: its ``metrics.csv``, numbers, one column a metric, indexed by environment steps.
        exact: whether it is judged by the exact value of its policy; see ``judged``.
    """

    cell: Cell
    settings: dict[str, Any]
    summary: dict[str, Any]
    curves: pd.DataFrame
    exact: bool = False

    @property
    def score(self) -> float:
        """What it is judged by: the exact value of the final policy, or the mean raw return of the last 100 whole
        games of training; NaN if no game ended."""
        score = self.summary.get(EXACT if self.exact else "return_last")
        return float("nan") if score is None else float(score)

    @property
    def score_curve(self) -> pd.Series:
        """The same while training, by environment steps; NaN before the first game ended."""
        name = EXACT if self.exact else "train/return"
        if name not in self.curves:
            return pd.Series(float("nan"), index=self.curves.index, name=name)
        return self.curves[name]

    @property
    def seconds(self) -> pd.Series:
        """Seconds of collecting and learning, by environment steps."""
        return self.curves["time/seconds"]


@dataclass(frozen=True)
class Results:
    """What a study has found so far.

    Attributes:
        name: the study's.
        path: its directory.
        runs: the finished trainings, in the order in which they were asked for.
        failed: why, by cell id, of the ones that failed.
        unfinished: cell ids of all others.
        cells: all that were asked for.
        command: what to type to go on with it.
    """

    name: str
    path: Path
    runs: tuple[Result, ...]
    failed: dict[str, str]
    unfinished: tuple[str, ...]
    cells: tuple[Cell, ...]
    command: str

    @cached_property
    def environments(self) -> tuple[str, ...]:
        """Of the finished trainings, in order."""
        return tuple(dict.fromkeys(run.cell.env for run in self.runs))

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Of the finished trainings, in order."""
        return tuple(dict.fromkeys(run.cell.arm for run in self.runs))

    @cached_property
    def exact(self) -> tuple[str, ...]:
        """The environments that are judged by the exact value of the policy."""
        return tuple(env for env in self.environments if all(run.exact for run in self.of(env)))

    def of(self, env: str | None = None, arm: str | None = None) -> list[Result]:
        """The trainings in an environment, of an arm, or both."""
        return [run for run in self.runs if env in (None, run.cell.env) and arm in (None, run.cell.arm)]

    @cached_property
    def asked(self) -> dict[tuple[str, str], dict[int, str]]:
        """By environment and arm, what became of each seed: ``finished``, ``failed`` or ``not finished``."""
        states = dict.fromkeys(self.failed, "failed") | dict.fromkeys(self.unfinished, "not finished")
        found: dict[tuple[str, str], dict[int, str]] = {}
        for cell in self.cells:
            found.setdefault((cell.env, cell.arm), {})[cell.seed] = states.get(cell.id, "finished")
        return found

    def differences(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Every setting but the seed in which trainings in one environment differ, and its values by arm, as text.

        A setting that depends on the environment too is told for the first one in which an arm's own trainings
        differ, or else for the first in which arms do. An arm that does not have it, or is not there, has ``ABSENT``.
        """
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for key, by_env in self._values.items():
            told = [values for values in by_env.values() if len(set().union(*values.values())) > 1]
            if told:
                first = next((values for values in told if any(len(one) > 1 for one in values.values())), told[0])
                found[key] = {arm: first.get(arm, (ABSENT,)) for arm in self.arms}
        return found

    def unlike(self) -> dict[str, list[str]]:
        """By arm, the settings but the seed and ``MACHINE`` in which its own trainings in some environment differ:
        their mean is not over seeds alone."""
        found: dict[str, list[str]] = {}
        for key, by_env in self._values.items():
            for arm in self.arms if key not in MACHINE else ():
                if any(len(values.get(arm, ())) > 1 for values in by_env.values()):
                    found.setdefault(arm, []).append(key)
        return found

    def alike(
        self, arms: Sequence[str], environments: Sequence[str], of: Callable[[Result], Hashable]
    ) -> tuple[tuple[str, ...], ...]:
        """Arms in groups within which ``of`` is the same for every training, in all of the environments that each of
        them was trained in. An arm whose own trainings differ in it is alone."""
        shared = [env for env in environments if all(self.of(env, arm) for arm in arms)]
        groups: dict[Hashable, list[str]] = {}
        for arm in arms:
            found = tuple(frozenset(map(of, self.of(env, arm))) for env in shared)
            alone = any(len(values) > 1 for values in found)
            groups.setdefault(arm if alone else found, []).append(arm)
        return tuple(map(tuple, groups.values()))

    @cached_property
    def _values(self) -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
        """By setting, environment and arm, its different values."""
        keys = sorted({key for run in self.runs for key in run.settings} - {"seed"})
        found: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
        for env in self.environments:
            for arm in self.arms:
                runs = self.of(env, arm)
                for key in keys if runs else ():
                    values = dict.fromkeys(_shown(run.settings, key) for run in runs)
                    found.setdefault(key, {}).setdefault(env, {})[arm] = tuple(values)
        return found


def _shown(settings: dict[str, Any], key: str) -> str:
    value = settings.get(key)
    return ABSENT if key not in settings else "null" if value is None else str(value)


def judged(runs: Sequence[Result]) -> tuple[Result, ...]:
    """The same trainings, all of one environment judged by the same measure: the exact value where each of them knows
    it. A policy with a memory does not, and a return is no value at the start: it is not discounted."""
    unknown = {run.cell.env for run in runs if EXACT not in run.summary or EXACT not in run.curves}
    return tuple(replace(run, exact=run.cell.env not in unknown) for run in runs)


def read_results(path: str | Path) -> Results:
    """The results of the study in a directory.

    Raises:
        UserError: no study is there, or no training of it is finished.
    """
    study = Study.open(path)
    runs, failed, unfinished = [], {}, []
    for cell in study.cells.values():
        state = study.state(cell)
        if state is State.FINISHED:
            runs.append(_read(study, cell))
        elif state is State.FAILED:
            failed[cell.id] = str(study.outcome(cell).get("reason"))
        else:
            unfinished.append(cell.id)
    if not runs:
        raise UserError(
            f"{path}: no training of this study is finished ({len(failed)} failed, {len(unfinished)} not run to their "
            f"end), so there is nothing to report. Run it: {study.command()}"
        )
    name, cells = study.path.resolve().name, tuple(study.cells.values())
    return Results(name, study.path, judged(runs), failed, tuple(unfinished), cells, study.command())


def _read(study: Study, cell: Cell) -> Result:
    path = study.run_directory(cell)
    summary = study.summary(cell)
    if summary is None:
        raise UserError(f"{path / 'summary.json'}: can't be read.")
    columns, rows = read_table(path / "metrics.csv")
    table = pd.DataFrame(rows, columns=columns).replace("", "nan").astype(float)
    table = table.set_index(table.pop(STEP).astype(int)) if columns else table
    config = load(path)
    machine = {key: config.get(key) for key in MACHINE}
    return Result(cell, settings(config) | machine, summary, table)


def metric(runs: Iterable[Result], name: str) -> list[pd.Series]:
    """The curve of a metric in each training that logged it; rows without it left out.

    Raises:
        UserError: none logged it; the message has the nearest names that were.
    """
    runs = list(runs)
    found = [run.curves[name].dropna() for run in runs if name in run.curves]
    if not found:
        close = difflib.get_close_matches(name, {column for run in runs for column in run.curves}, n=3)
        raise UserError(f"{name}: no training logged this metric.{f' Near: {chr(44).join(close)}.' if close else ''}")
    return found
