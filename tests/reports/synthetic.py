"""Made-up results of a study, for tests of what is made from them: no training, no files, the same every time."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dreamspi.metrics import STEP
from dreamspi.reports import statistics
from dreamspi.reports.results import Result, Results, judged
from dreamspi.studies.design import Cell

ARMS = ("ppo", "deepmdp", "deepspi", "dreamspi", "hybrid")
ENVIRONMENTS = ("maze", "minatar/breakout", "minatar/space_invaders")
#: Where a finished training ends, as a share of ``TOPS``, unless ``quality`` says otherwise.
QUALITY = {"ppo": 0.6, "deepmdp": 0.6, "deepspi": 0.8, "dreamspi": 0.5, "hybrid": 0.7}
#: A score that would be very good there, and one that needs no learning.
TOPS = {"maze": (8.0102810897802, 1.77), "minatar/breakout": (10.0, 0.5), "minatar/space_invaders": (60.0, 2.5)}
TOPS |= {"atari/Pong": (20.0, -20.7), "atari/Breakout": (400.0, 1.7), "gym/CartPole-v1": (475.0, 22.0)}
OPTIMUM = 8.0102810897802
#: A return in the maze, as a multiple of the value at the start.
UNDISCOUNTED = 1.25
#: Of arms that have another one than the rest.
WORLD_MODELS = {"rssm": "rssm"}
#: Environment steps per second.
SPEEDS = {"ppo": 8000.0, "deepmdp": 4000.0, "deepspi": 4000.0, "dreamspi": 2000.0, "hybrid": 1800.0}
STEPS, EVERY, CERTIFIED = 61_440, 4096, 3
VERSIONS = {"dreamspi": "0.1.0", "torch": "2.13.0", "torchrl": "0.14.1", "numpy": "2.4.6"}

Key = tuple[str, str, int]


@pytest.fixture(autouse=True, scope="module")
def rough_intervals() -> Iterator[None]:
    """In a module that imports it reports are made quickly, from few resamples."""
    bootstrapped = statistics._bootstrapped

    def rough(values: Any, function: Any, seed: int, resamples: int) -> np.ndarray:
        return bootstrapped(values, function, seed, min(resamples, 100))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_bootstrapped", rough)
        yield


def results(
    arms: Sequence[str] = ARMS,
    environments: Sequence[str] = ENVIRONMENTS,
    seeds: Sequence[int] = (1, 2, 3),
    *,
    quality: Mapping[str, float] | None = None,
    scores: Mapping[Key, float] | None = None,
    missing: Collection[Key] = (),
    failed: Mapping[Key, str] | None = None,
    no_game: Collection[Key] = (),
    memory: Collection[str] = (),
    seconds: float = 1.0,
    name: str = "made-up",
) -> Results:
    """A study's results, with every metric of docs/metrics.md that a report reads.

    Args:
        arms: those named after a planner have its metrics; any other has those of ``deepspi``.
        environments: unknown ones get scores from 0 to 1.
        seeds: of the trainings.
        quality: where an arm's scores end, as a share of the best, give or take a tenth.
        scores: exact final scores by (environment, arm, seed), instead.
        missing: trainings that are not finished.
        failed: trainings that failed, with the reason.
        no_game: trainings in which no game ended: their score is NaN.
        memory: arms whose policies have one, so that the maze knows no exact value of theirs.
        seconds: factor of all times, as if another machine had run it.
        name: the study's.
    """
    runs, reasons, unfinished, cells = [], {}, [], []
    for seed in seeds:
        for env in environments:
            for arm in arms:
                key = (env, arm, seed)
                id = f"{env.replace('/', '_')}-{arm}-s{seed}-0"
                cell = Cell(id, *key, (f"env={env}", f"seed={seed}"), STEPS, threads=1, digest="0")
                cells.append(cell)
                if failed and key in failed:
                    reasons[cell.id] = failed[key]
                elif key in missing:
                    unfinished.append(cell.id)
                else:
                    level = (QUALITY | dict(quality or {})).get(arm, 0.5)
                    runs.append(_run(cell, level, (scores or {}).get(key), key in no_game, arm in memory, seconds))
    path, command = Path("studies") / name, f"dreamspi study name={name}"
    return Results(name, path, judged(runs), reasons, tuple(unfinished), tuple(cells), command)


def with_settings(found: Results, changed: Mapping[Key, Mapping[str, Any]]) -> Results:
    """The same with other settings in some trainings."""
    runs = []
    for run in found.runs:
        more = changed.get((run.cell.env, run.cell.arm, run.cell.seed), {})
        runs.append(dataclasses.replace(run, settings=run.settings | dict(more)))
    return dataclasses.replace(found, runs=tuple(runs))


def with_curve(found: Results, metric: str, values: Mapping[Key, Sequence[float]]) -> Results:
    """The same with the curve of a metric replaced, row by row, in some trainings."""
    runs = []
    for run in found.runs:
        key = (run.cell.env, run.cell.arm, run.cell.seed)
        curves = run.curves.assign(**{metric: list(values[key])}) if key in values else run.curves
        runs.append(dataclasses.replace(run, curves=curves))
    return dataclasses.replace(found, runs=tuple(runs))


def _run(cell: Cell, level: float, score: float | None, no_game: bool, memory: bool, seconds: float) -> Result:
    rng = np.random.default_rng(zlib.crc32(f"{cell.env} {cell.arm} {cell.seed}".encode()))
    top, bottom = TOPS.get(cell.env, (1.0, 0.0))
    if score is None:
        score = bottom + (top - bottom) * min(level + rng.uniform(-0.1, 0.1), 1.0)
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    done = steps / steps[-1]
    curve = bottom + (score - bottom) * (1 - np.exp(-4 * done)) / (1 - np.exp(-4))
    if no_game:
        score, curve = float("nan"), np.full(len(steps), np.nan)
    columns = _training(cell, rng, done, curve) | _model(cell, rng, done)
    if memory:
        columns = {name: column for name, column in columns.items() if not name.startswith("maze_")}
    columns["time/seconds"] = seconds * steps / SPEEDS.get(cell.arm, 3000.0) * rng.uniform(0.95, 1.05)
    columns["time/steps_per_second"] = EVERY / np.diff(columns["time/seconds"], prepend=0.0)
    columns["time/collect_share"] = np.full(len(steps), 0.3)
    table = pd.DataFrame(dict(sorted(columns.items())), index=pd.Index(steps, name=STEP)).astype(float)
    return Result(cell, _settings(cell), _summary(cell, score, no_game, table), table)


def _training(cell: Cell, rng: np.random.Generator, done: np.ndarray, curve: np.ndarray) -> dict[str, np.ndarray]:
    undiscounted = UNDISCOUNTED if cell.env == "maze" else 1.0
    columns = {"train/return": undiscounted * curve + rng.normal(0, 1e-3, len(done)), "train/length": 10 + 5 * done}
    columns |= {"train/games": 1000 * done, "train/dream_steps": 8000 * done * _dreams(cell.arm)}
    spread = 0.05 + 0.1 * rng.random(len(done))
    columns |= {"neighborhood/d_inf": 1 - spread, "neighborhood/d_sup": 1 + spread}
    columns |= {"neighborhood/outside": 0.1 * rng.random(len(done)), "neighborhood/kl": spread**2}
    columns |= {f"ground/{name}": 0.1 + rng.random(len(done)) for name in ("entropy", "loss_value", "clip_fraction")}
    if cell.env.partition("/")[0] == "maze":
        columns |= {"maze_value": curve, "maze_optimum": np.full(len(done), OPTIMUM)}
        columns |= {"maze_latent_distance": 0.01 + 0.05 * done * rng.uniform(0.8, 1.2)}
        columns |= {"maze_up_upper": 0.25 + 0.7 * done, "maze_up_lower": 0.25 - 0.2 * done}
        columns |= {"maze_right_upper": 0.25 - 0.2 * done, "maze_right_lower": 0.25 + 0.7 * done}
    return columns


def _model(cell: Cell, rng: np.random.Generator, done: np.ndarray) -> dict[str, np.ndarray]:
    trained = cell.arm != "ppo"
    fall = np.exp(-2 * done) if trained else np.ones(len(done))
    better = 0.8 if cell.arm == "deepspi" else 1.0
    columns = {"model/transition_distance": better * (2 + 8 * fall) * rng.uniform(0.9, 1.1)}
    columns |= {"model/reward_distance": (0.05 + 0.3 * fall) * rng.uniform(0.9, 1.1)}
    columns |= {"model/reward_error_on_largest": 0.5 + 0.4 * fall, "model/termination_distance": 0.02 + 0.1 * fall}
    columns |= {"model/effective_rank": 30 + 10 * done, "model/dead_units": np.full(len(done), 0.2)}
    columns |= {"model/latent_spread": 0.5 + 0.1 * done}
    if trained:
        columns |= {"dream_quality/latent_error_first": 0.3 + 0.5 * fall, "dream_quality/latent_error_last": 0.8 + fall}
        columns |= {"dream_quality/return_correlation": 0.9 - 0.5 * fall, "dream_quality/return_error": 0.1 + fall}
        columns |= {"ground/local_transition": 0.1 * fall, "ground/local_reward": 0.2 * fall}
    if _dreams(cell.arm):
        columns |= {"dream/reward": 0.2 + done, "dream/terminated": 0.3 * done, "dream/beta": np.ones(len(done))}
        columns |= {"dream/d_inf": 1 - 0.1 * done, "dream/d_sup": 1 + 0.1 * done, "dream/entropy": 1.1 - done / 2}
    certified = np.where(np.arange(1, len(done) + 1) % CERTIFIED == 0, 1.0, np.nan)
    columns |= {"certificate/D_sup": certified * 1.05, "certificate/L_P": certified * fall}
    return columns | {"certificate/L_R": certified * 0.1 * fall, "certificate/K_V": certified * 2.0}


def _dreams(arm: str) -> bool:
    return arm in ("dreamspi", "hybrid")


def _settings(cell: Cell) -> dict[str, Any]:
    planner = cell.arm if cell.arm in ARMS else "deepspi"
    return {
        "choices.env": cell.env,
        "choices.planner": planner,
        "choices.world_model": WORLD_MODELS.get(cell.arm, "deterministic"),
        "world_model.hidden": 64 if cell.arm == "small" else 128,
        "planner.C": 1.1,
        "planner.ground.utility": planner not in ("ppo", "deepmdp"),
        **({"planner.dream.horizon": 8} if _dreams(cell.arm) else {}),
        "total_steps": cell.steps,
        "seed": cell.seed,
    }


def _summary(cell: Cell, score: float, no_game: bool, table: pd.DataFrame) -> dict[str, Any]:
    last = table.iloc[-1]
    mean = None if no_game else score * (UNDISCOUNTED if cell.env == "maze" else 1.0)
    facts: dict[str, Any] = {
        "env": cell.env,
        "world_model": "deterministic",
        "planner": cell.arm,
        "experiment": None,
        "seed": cell.seed,
        "env_steps": STEPS,
        "dream_steps": int(last["train/dream_steps"]),
        "wall_seconds": float(last["time/seconds"]),
        "steps_per_second": STEPS / float(last["time/seconds"]),
        "games": 0 if no_game else 1000,
        "return_mean": mean,
        "return_last": mean,
    }
    if "maze_value" in table and not no_game:
        facts |= {name: float(last[name]) for name in table if name.startswith("maze_")} | {"maze_value": score}
    return facts | {"git_revision": "0" * 40} | {f"version_{name}": version for name, version in VERSIONS.items()}
