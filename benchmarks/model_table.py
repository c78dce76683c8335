"""Which world model dreams best, and at what cost: short trainings of `dreamspi`, judged on games they never saw.

    python benchmarks/model_table.py [envs=maze,minatar/breakout] [models=deterministic,rssm] [seeds=3] [jobs=1]
                                      [steps=<environment steps>] [directory=runs/world_models] [<override> ...]

Each cell is an ordinary `dreamspi train planner=dreamspi` on one thread, and `dreamspi dream` on 100 whole games after
it, in Atari, whose games are long, on 5; its dreams are as short as the longest of them where that has not 8 steps.
What is finished is kept, what was interrupted goes on. Prints a table in Markdown for each environment: means over the
seeds, and in brackets the smallest and the largest. Cost is processor time, of training alone, over that of
`deterministic` on the same environment; return is the mean of the last 100 training games, raw, or, where training was
too short for a game to end, of as many games after it as dreams are judged on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from dreamspi.catalogue import options
from dreamspi.errors import EXIT_USER_ERROR, UserError, tell, unknown, unknown_option
from dreamspi.overrides import check_environment
from dreamspi.run_directory import write_atomically

#: Environment steps of a training, where ``steps=`` says nothing else.
STEPS = {"maze": 50_000, "minatar": 50_000, "atari": 20_480, "gym": 50_000}
#: Keys of `dreamspi train` without a dot that all cells may share.
TRAINING = ("num_envs", "num_steps", "gamma", "precision")
DEFAULTS = {
    "envs": "maze,minatar/breakout,minatar/space_invaders,atari/Pong",
    "models": "",
    "seeds": "3",
    "jobs": "1",
    "steps": "",
    "directory": "runs/world_models",
}
#: Whole games that a model is judged on, and of Atari's, twenty of which do not fit in memory.
EPISODES, ATARI_EPISODES = 100, 5
#: Where the processor time of a training is kept, in its run directory.
SECONDS = "seconds.json"
COLUMNS = (
    "latent error, 1 step",
    "8 steps",
    "reward error, step 8",
    "on the largest",
    "calibration error",
    "cost",
    "return",
)


class Refused(UserError):
    """A model can't take what an environment shows; in its own words."""


class Cell(NamedTuple):
    """One training."""

    env: str
    model: str
    seed: int


class Study(NamedTuple):
    """What was typed."""

    envs: list[str]
    models: list[str]
    seeds: int
    jobs: int
    steps: int | None
    directory: Path
    overrides: list[str]


def main(words: Sequence[str]) -> int:
    """Trains, judges, prints; returns the exit code. A user's mistake is one line on stderr."""
    try:
        if {"--help", "-h", "help"} & set(words):
            print(__doc__)
        else:
            report(parse(words))
    except UserError as error:
        tell(error)
        return EXIT_USER_ERROR
    return 0


def parse(words: Sequence[str]) -> Study:
    """Our own options, checked; everything else is an override of `dreamspi train`."""
    chosen, overrides = dict(DEFAULTS), []
    for word in words:
        key, _, value = word.partition("=")
        if key in chosen:
            chosen[key] = value
        elif "." in key or key.startswith("+") or key in TRAINING:
            overrides.append(word)
        else:
            raise unknown_option(key, [*chosen, *TRAINING])
    for key in ("seeds", "jobs", *(["steps"] if chosen["steps"] else [])):
        if not chosen[key].isdecimal() or int(chosen[key]) < 1:
            raise UserError(f"{key}={chosen[key]}: must be a whole number of at least 1.")
    models = chosen["models"].split(",") if chosen["models"] else options("world_model")
    for name in models:
        if name not in options("world_model"):
            raise unknown("models", name, options("world_model"))
    steps = int(chosen["steps"]) if chosen["steps"] else None
    envs = chosen["envs"].split(",")
    for env in envs:
        check_environment(env)
        if not steps and env.partition("/")[0] not in STEPS:
            raise UserError(f"envs={env}: say how long a training is to be: steps=50000.")
    return Study(
        envs,
        models,
        int(chosen["seeds"]),
        int(chosen["jobs"]),
        steps,
        Path(chosen["directory"]),
        overrides,
    )


def report(study: Study) -> None:
    """Runs every cell and prints a table for each environment as soon as it is complete, and beneath it what the models
    said that refused their environment.

    Raises:
        UserError: all of them did.
    """
    for env in study.envs:
        cells = [Cell(env, model, seed) for seed, model in product(range(study.seeds), study.models)]
        with ThreadPoolExecutor(study.jobs) as pool:
            found = dict(zip(cells, pool.map(lambda cell: row_of(study, cell), cells), strict=True))
        refusals = {cell.model: row for cell, row in found.items() if isinstance(row, Refused)}
        rows = {cell: row for cell, row in found.items() if not isinstance(row, Refused) and cell.model not in refusals}
        if not rows:
            raise next(iter(refusals.values()))
        print(f"\n### {env}, {_steps(study, env):,} steps\n\n| model | " + " | ".join(COLUMNS) + " |")
        print("| --- " * (len(COLUMNS) + 1) + "|")
        base = _cost(rows)
        for model in dict.fromkeys(cell.model for cell in rows):
            of_model = [row for cell, row in rows.items() if cell.model == model]
            columns = list(zip(*(row[:-2] for row in of_model), strict=True))
            columns += [[row[-2] / base for row in of_model], [row[-1] for row in of_model]]
            print(f"| `{model}` | " + " | ".join(map(told, columns)) + " |", flush=True)
        for model, refusal in refusals.items():
            print(f"\n`{model}`: {refusal}")


def _steps(study: Study, env: str) -> int:
    return study.steps or STEPS[env.partition("/")[0]]


def _cost(rows: dict[Cell, list[float]]) -> float:
    """Mean seconds of `deterministic`, or of the first model where that is not among those compared."""
    models = [cell.model for cell in rows]
    name = "deterministic" if "deterministic" in models else models[0]
    return mean(row[-2] for cell, row in rows.items() if cell.model == name)


def row_of(study: Study, cell: Cell) -> list[float] | Refused:
    """Trains and judges a cell, unless that is done, and reads its row; or what it refused."""
    run = study.directory / _name(study, cell)
    try:
        _train_and_judge(study, cell, run)
    except Refused as refusal:
        return refusal
    found = json.loads((run / "dream.json").read_text())
    quality = found["sampled"]
    errors = [quality["latent_error_relative"][0], quality["latent_error_relative"][-1], quality["reward_error"][-1]]
    errors += [quality["reward_error_on_largest"][-1], quality["termination"]["error"]]
    numbers = [*errors, json.loads((run / SECONDS).read_text()), _return_of(cell, run)]
    return [float("nan") if number is None else number for number in numbers]


def _train_and_judge(study: Study, cell: Cell, run: Path) -> None:
    if not (run / "summary.json").exists():
        words = [f"env={cell.env}", f"world_model={cell.model}", "planner=dreamspi", f"seed={cell.seed}", "threads=1"]
        words += [f"run_dir={run}", f"total_steps={_steps(study, cell.env)}", "logger=none", *study.overrides]
        dreamspi("train", *([f"resume={run}"] if run.exists() else words), account=run / SECONDS)
    if not (run / "dream.json").exists():
        dreamspi("dream", f"run={run}", f"episodes={_episodes(cell)}", f"seed={cell.seed}")


def _episodes(cell: Cell) -> int:
    return ATARI_EPISODES if cell.env.startswith("atari") else EPISODES


def _return_of(cell: Cell, run: Path) -> float:
    trained = json.loads((run / "summary.json").read_text())["return_last"]
    if trained is not None:
        return trained
    played = run / "evaluation.json"
    if not played.exists():
        dreamspi("evaluate", f"run={run}", f"episodes={_episodes(cell)}", f"seed={cell.seed}", f"json={played}")
    return json.loads(played.read_text())["mean"]


def _name(study: Study, cell: Cell) -> str:
    """Of a cell's run, another for each length of training and for other overrides."""
    told = f"-{zlib.crc32(' '.join(study.overrides).encode()):08x}" if study.overrides else ""
    return f"{cell.env.replace('/', '-')}-{cell.model}-{_steps(study, cell.env)}{told}-{cell.seed}"


def dreamspi(*words: str, account: Path | None = None) -> None:
    """Runs a command in a process of its own; adds its processor time, in seconds, to what ``account`` holds, however
    it ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dreamspi", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    try:
        said = process.stderr.read()
    finally:
        _, status, usage = os.wait4(process.pid, 0)
        if account is not None and account.parent.is_dir():
            before = json.loads(account.read_text()) if account.exists() else 0.0
            write_atomically(account, json.dumps(before + usage.ru_utime + usage.ru_stime))
    code, last = os.waitstatus_to_exitcode(status), said.strip().rpartition("\n")[2]
    if code == EXIT_USER_ERROR:
        raise Refused(last.removeprefix("dreamspi: "))
    if code:
        raise UserError(f"dreamspi {' '.join(words)}: {last or 'failed'}")


def told(numbers: Sequence[float]) -> str:
    """Mean, and the smallest and the largest if they differ."""
    if max(numbers) == min(numbers):
        return f"{numbers[0]:.3g}"
    return f"{mean(numbers):.3g} ({min(numbers):.3g}–{max(numbers):.3g})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
