"""How fast each planner trains, and where its time goes.

    python benchmarks/throughput.py [env=atari/Pong] [planners=ppo,deepspi,dreamspi] [iterations=4] [repeats=3]
                                    [json=<file>] [any override of `dreamspi train`, such as threads=1 ...]

The planners' trainings live in one process and take turns, iteration by iteration, so that a busy machine slows
them all alike; each repeat gives one ratio to ``ppo``. Four iterations hold one row of metrics.csv, as in
training. A key under ``planner.`` goes to the planners that have it. No timer is in the library: it is watched.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig

from dreamspi.catalogue import chooses, options
from dreamspi.config import compose
from dreamspi.cores import cores
from dreamspi.errors import EXIT_USER_ERROR, UserError, tell, unknown
from dreamspi.machine import prepare, processor
from dreamspi.overrides import dotted_keys, unknown_key
from dreamspi.run_directory import provenance, write_atomically
from dreamspi.training import Training

BASELINE = "ppo"
PHASES = ("environment", "inference", "ground", "dream")
DEFAULTS = {"planners": "ppo,deepmdp,deepspi,dreamspi,hybrid", "iterations": "4", "repeats": "3", "json": ""}


def main(words: Sequence[str]) -> int:
    """Measures, prints, and returns the exit code; a user's mistake is one line on stderr."""
    return answered(words, __doc__, lambda: report(*parse(words)))


def answered(words: Sequence[str], document: str | None, act: Callable[[], None]) -> int:
    """Shows ``document`` where help is asked for, or acts; returns the exit code."""
    try:
        if {"--help", "-h", "help"} & set(words):
            print(document)
        else:
            act()
    except UserError as error:
        tell(error)
        return EXIT_USER_ERROR
    return 0


def parse(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Splits the command line into our own options, checked, and overrides of ``dreamspi train``."""
    for word in words:
        if word.partition("=")[0] in ("planner", "resume"):
            raise UserError(f"{word}: not here; write planners=ppo,deepspi for the planners to compare.")
    chosen, overrides = separated(words, DEFAULTS, lists={"planners": options("planner")})
    chosen["planners"] = list(dict.fromkeys([BASELINE, *chosen["planners"]]))
    return chosen, overrides if chooses(overrides, "env") else ["env=atari/Pong", *overrides]


def separated(
    words: Sequence[str], defaults: Mapping[str, str], lists: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], list[str]]:
    """A benchmark's own options, and what is left: overrides of ``dreamspi train``.

    Args:
        defaults: its own options; ``iterations`` and ``repeats`` are counts, ``json`` is a file to write.
        lists: those that are comma-separated names, and which there are.
    """
    mine = [word for word in words if "=" in word and word.partition("=")[0] in defaults]
    chosen: dict[str, Any] = dict(defaults) | dict(word.split("=", 1) for word in mine)
    for key in ("iterations", "repeats"):
        if not chosen[key].isdecimal() or int(chosen[key]) < 1:
            raise UserError(f"{key}={chosen[key]}: must be a whole number of at least 1.")
        chosen[key] = int(chosen[key])
    for key, names in lists.items():
        chosen[key] = chosen[key].split(",")
        for name in chosen[key]:
            if name not in names:
                raise unknown(key, name, names)
    if chosen["json"] and not Path(chosen["json"]).resolve().parent.is_dir():
        raise UserError(f"json={chosen['json']}: no such directory.")
    return chosen, [word for word in words if word not in mine]


def configurations(planners: Sequence[str], overrides: Sequence[str]) -> dict[str, DictConfig]:
    """The resolved configuration of each planner. Raises UserError for a key that no planner has."""
    special = {word: word.partition("=")[0] for word in overrides if word.startswith("planner.")}
    words = {name: [word for word in overrides if word not in special] + [f"planner={name}"] for name in planners}
    keys = {name: set(dotted_keys(compose(words[name]))) for name in planners}
    for key in special.values():
        if not any(key in known for known in keys.values()):
            raise unknown_key(key, set().union(*keys.values()))
    return {name: compose([*words[name], *(w for w, key in special.items() if key in keys[name])]) for name in planners}


class Watched:
    """A training whose phases are timed from outside, which changes nothing that it computes."""

    def __init__(self, config: DictConfig) -> None:
        if config.collector.backend != "direct":
            raise UserError(f"collector.backend={config.collector.backend}: only direct can be timed from outside.")
        self.training = Training(config)
        self.rows = [dict.fromkeys(("all", *PHASES), 0.0)]  # seconds: of the start, then of each iteration
        planner, collection = self.training.planner, self.training.collection
        self._time(self.training, "iterate", "all")
        self._time(collection.policy, "forward", "inference")
        self._time(planner.ground, "run", "ground")
        if planner.dream is not None:
            self._time(planner.dream, "run", "dream")
        source, make_env = collection.source, collection.source.make_env
        source.make_env = lambda num_envs: self._time(make_env(num_envs), "step_and_maybe_reset", "environment")
        self.training.start()

    def _time(self, owner: Any, method: str, phase: str) -> Any:
        """Puts a stopwatch around a method of this one object, and returns the object."""
        inner = getattr(owner, method)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            started = clock()
            result = inner(*arguments, **keywords)
            self.rows[-1][phase] += clock() - started
            return result

        setattr(owner, method, timed)
        return owner

    def iterate(self) -> dict[str, float]:
        """One iteration of the training; returns its metrics."""
        self.rows.append(dict.fromkeys(("all", *PHASES), 0.0))
        return self.training.iterate()

    def result(self, baseline: Watched, iterations: int) -> dict[str, Any]:
        """Speeds, shares of time, and the ratio to ``baseline`` in each repeat of so many iterations."""
        rows = self.rows[2:]  # without the start and the iteration that warms up
        mine, other = [row["all"] for row in rows], [row["all"] for row in baseline.rows[2:]]
        shares = {phase: sum(row[phase] for row in rows) / sum(mine) for phase in PHASES}
        repeats = [slice(i, i + iterations) for i in range(0, len(mine), iterations)]
        return {
            "env_steps_per_second": self.training.batch_steps / median(mine),
            "dream_steps_per_second": self.training.dream_steps / self.training.iteration / median(mine),
            "seconds": spread(mine),
            "shares": shares | {"other": 1.0 - sum(shares.values())},
            "ratio": spread([sum(mine[r]) / sum(other[r]) for r in repeats]),
        }


def clock() -> float:
    """Seconds; what a GPU still has to do is waited for."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def measure(configs: dict[str, DictConfig], iterations: int, repeats: int) -> dict[str, Any]:
    """Results by name; ratios are to the first."""
    runs = {name: Watched(config) for name, config in configs.items()}
    baseline = next(iter(runs.values()))
    if min(run.training.iterations for run in runs.values()) <= iterations * repeats:
        raise UserError(f"total_steps: too few for {iterations} x {repeats} iterations and a first to warm up.")
    for _ in range(1 + iterations * repeats):
        for run in runs.values():
            run.iterate()
    for run in runs.values():
        run.training.close()
    return {name: run.result(baseline, iterations) for name, run in runs.items()}


def report(chosen: dict[str, Any], overrides: Sequence[str]) -> None:
    """Measures and prints; writes ``json=<file>`` where it was asked for."""
    configs = configurations(chosen["planners"], overrides)
    config = configs[BASELINE]
    prepare(config.threads)
    results = measure(configs, chosen["iterations"], chosen["repeats"])
    setting = {
        "setting": f"{config.choices.env}, {config.choices.world_model}, {config.num_envs} x {config.num_steps}",
        "overrides": " ".join(overrides),
        "measured": f"{chosen['repeats']} x {chosen['iterations']} iterations",
        **machine(config.device),
        "dtype": str(torch.get_default_dtype()),
        "peak_rss": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, all planners together",
    }
    publish(setting, table(results), chosen["json"], planners=results)


def publish(setting: Mapping[str, Any], text: str, file: str, **results: Any) -> None:
    """Prints a setting and a table; writes setting and results to ``file`` as JSON, if it has a name."""
    print(*(f"{key}: {value}" for key, value in setting.items()), "", text, sep="\n")
    if file:
        write_atomically(Path(file), json.dumps({"setting": setting, **results}, indent=2) + "\n")


def machine(device: str = "cpu") -> dict[str, str]:
    """What was measured on, and with what versions."""
    threads = f"{cores()} cores, {torch.get_num_threads()} torch threads, {device}"
    return {"machine": f"{processor('model name') or platform.machine()}, {threads}", **provenance()}


def table(results: dict[str, Any]) -> str:
    """One line per result; spreads as median (least - largest)."""
    rows = [["", "env/s", "dreamed/s", *PHASES, "other", "s/iteration", f"x {next(iter(results))}"]]
    for name, found in results.items():
        speeds = [f"{found[f'{kind}_steps_per_second']:,.0f}" for kind in ("env", "dream")]
        shares = [f"{share:.0%}" for share in found["shares"].values()]
        spreads = ["{median:.2f} ({min:.2f} - {max:.2f})".format(**found[key]) for key in ("seconds", "ratio")]
        rows.append([name, *speeds, *shares, *spreads])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table of words, each column as wide as it needs."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(word.rjust(n) for word, n in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
