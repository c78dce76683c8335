"""What a user waits for, and what it takes: each command as it is typed, in a process of its own, in turns.

    python -m benchmarks.startup [planners=ppo,dreamspi] [iterations=8] [repeats=3] [json=<file>]
                                 [any override of `dreamspi train`, such as env=minatar/breakout]

Of `dreamspi train`: seconds until the first update is done (the first row of metrics.csv), seconds until the command is
back, its picture and summary written, and the most memory that it held. Then the commands that need no torch.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.throughput import aligned, answered, machine, publish, separated, spread
from dreamspi.catalogue import options
from dreamspi.config import compose
from dreamspi.errors import UserError

DEFAULTS = {"planners": "ppo,deepmdp,deepspi,dreamspi,hybrid", "iterations": "8", "repeats": "3", "json": ""}
#: What answers without torch, and the words after ``python``.
LIGHT = {
    "import dreamspi": ["-c", "import dreamspi"],
    "dreamspi --help": ["-m", "dreamspi", "--help"],
    "dreamspi list": ["-m", "dreamspi", "list"],
}
#: Seconds between two looks at metrics.csv.
PERIOD = 0.005


class Waited(NamedTuple):
    """One command, from its start.

    Attributes:
        update: seconds until the first update; until the end, where there is none.
        end: seconds until it was back.
        mebibytes: the most resident memory of the process.
    """

    update: float
    end: float
    mebibytes: float


def main(words: Sequence[str]) -> int:
    """Measures, prints, and returns the exit code; a user's mistake is one line on stderr."""
    lists = {"planners": options("planner")}
    return answered(words, __doc__, lambda: report(*separated(words, DEFAULTS, lists)))


def report(chosen: dict[str, Any], overrides: Sequence[str]) -> None:
    """Measures and prints; writes ``json=<file>`` where it was asked for."""
    trainings = {name: training(name, overrides, chosen["iterations"]) for name in chosen["planners"]}
    commands = {f"train planner={name}": words for name, words in trainings.items()} | LIGHT
    found: dict[str, list[Waited]] = {name: [] for name in commands}
    for _ in range(chosen["repeats"]):
        for name, words in commands.items():
            found[name].append(wait(words))
    results = {name: summary(waits) for name, waits in found.items()}
    setting = {
        "overrides": " ".join(overrides),
        "measured": f"{chosen['repeats']} times, {chosen['iterations']} iterations of a training",
        **machine(),
    }
    publish(setting, table(results), chosen["json"], commands=results)


def training(planner: str, overrides: Sequence[str], iterations: int) -> list[str]:
    """The words after ``python`` of a training of so many iterations, but for its directory."""
    words = [*overrides, f"planner={planner}", "log_every=1"]
    config = compose(words)
    steps = iterations * config.num_envs * config.num_steps
    return ["-m", "dreamspi", "train", *words, f"total_steps={steps}"]


def wait(words: Sequence[str]) -> Waited:
    """Runs ``python <words>`` to its end. Raises UserError where it fails."""
    with TemporaryDirectory() as directory:
        trains = "train" in words
        metrics = Path(directory, "run", "metrics.csv")
        started, update, peak = time.perf_counter(), None, 0.0
        process = subprocess.Popen(
            [sys.executable, *words, *([f"run_dir={metrics.parent}"] if trains else [])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            if update is None and metrics.exists() and metrics.stat().st_size:  # empty until its first row
                update = time.perf_counter() - started
            time.sleep(PERIOD)
        end = time.perf_counter() - started
    if process.returncode:
        raise UserError(f"{' '.join(words)}: exit code {process.returncode}.")
    return Waited(end if update is None else update, end, peak)


def resident(pid: int) -> float:
    """The most memory that a process has held so far, in MiB; 0 where the system does not say.

    The kernel's other account of it, `ru_maxrss`, begins with what the parent had held.
    """
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def summary(waits: Sequence[Waited]) -> dict[str, dict[str, float]]:
    """Median, least and largest of each number."""
    return {field: spread([getattr(waited, field) for waited in waits]) for field in Waited._fields}


def table(results: dict[str, Any]) -> str:
    """One line per command; spreads as median (least - largest)."""
    rows = [["", "s to the first update", "s to the end", "MiB at most"]]
    for name, found in results.items():
        seconds = ["{median:.2f} ({min:.2f} - {max:.2f})".format(**found[key]) for key in ("update", "end")]
        memory = "{median:,.0f} ({min:,.0f} - {max:,.0f})".format(**found["mebibytes"])
        rows.append([name, seconds[0] if name not in LIGHT else "", seconds[1], memory])
    return aligned(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
