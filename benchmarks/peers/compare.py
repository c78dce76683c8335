"""DreamSPI beside its peers on the same work, in turns.

    python benchmarks/peers/compare.py [race=ppo,imagine,dreams] [contenders=dreamspi,sb3,...] [repeats=3]
                                       [peers=<python of the peers' environment>] [results=benchmarks/results]
                                       [game=atari/Pong] [envs=128] [steps=8] [epochs=4] [minibatches=4] [threads=1]
                                       [iterations=2] [horizon=8]

All contenders of a race stay alive, each in a process of its own, and take turns iteration by iteration, A B C A B C,
so that a busy machine slows them all alike. A repeat is ``iterations`` iterations of each; it gives one ratio to the
fastest peer, by the clock and by CPU time over all threads. A contender that fails is left out, with its last words.
Tables are dated and kept as Markdown and JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))  # limits.py

from contenders import ENTRIES, Entry, alike, default  # noqa: E402
from limits import Emulator, Limits, emulator_of, limits  # noqa: E402
from protocol import Work, parse  # noqa: E402
from tables import limit_lines, markdown, table  # noqa: E402

from dreamspi.errors import UserError  # noqa: E402
from dreamspi.machine import prepare, processor  # noqa: E402


class Failed(Exception):
    """A contender ended before its time; the message is the last line that it wrote."""


class Process:
    """A contender that is alive. Raises ``Failed`` where it ends too soon."""

    def __init__(self, entry: Entry, work: Work, peers: str) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        threads = str(work.threads)
        launched = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable if entry.ours else peers, str(HERE / f"{entry.script}.py"), *work.words()]
            + [f"{key}={value}" for key, value in entry.words.items()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        )
        self.ready = self._read()
        self.ready["start_seconds"] = time.perf_counter() - launched - self.ready["warm_up_seconds"]
        self.rows: list[dict[str, float]] = []

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        words = self.errors.read().strip().splitlines()
        raise Failed(words[-1] if words else f"ended with {self.process.returncode}")

    def turn(self) -> None:
        """One iteration."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.rows.append(self._read())

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()


def race(
    entries: dict[str, Entry], work: Work, repeats: int, peers: str, emulator: Emulator | None
) -> tuple[dict[str, Any], dict[str, str], list[Limits]]:
    """Ready lines and rows by contender, the reasons of those that failed, and the limits of each repeat."""
    running: dict[str, Process] = {}
    failed: dict[str, str] = {}
    floors: list[Limits] = []
    try:
        for name, entry in entries.items():
            try:
                running[name] = Process(entry, replace(work, iterations=work.iterations * repeats, turns=True), peers)
            except Failed as error:
                failed[name] = str(error)
            tell(f"{name}: {failed.get(name, 'ready')}")
        for repeat in range(repeats):
            if emulator is not None:
                floors.append(limits(emulator, work.envs, work.steps, work.epochs, work.minibatches))
            for _ in range(work.iterations):
                for name in list(running):
                    try:
                        running[name].turn()
                    except Failed as error:
                        failed[name] = str(error)
                        running.pop(name).close()
            tell(f"repeat {repeat + 1} of {repeats}")
    finally:
        for process in running.values():
            process.close()
    return {name: {**process.ready, "rows": process.rows} for name, process in running.items()}, failed, floors


def tell(message: str) -> None:
    """Progress, on stderr."""
    print(message, file=sys.stderr, flush=True)


def machine(work: Work) -> str:
    """CPU, cores and threads."""
    name = processor("model name") or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    return f"{name}, {os.cpu_count()} cores, {work.threads} threads{load}"


def revision() -> str:
    """The checkout's revision, with ``-dirty`` where it has changes."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def compare(kind: str, names: Sequence[str], work: Work, repeats: int, peers: str, results: Path, code: str) -> bool:
    """One race of the revision ``code``: prints its table and keeps it. Returns whether all contenders arrived."""
    entries = {name: ENTRIES[kind][name] for name in names}
    size = f"{work.envs} x {work.steps}"
    size += f", {work.epochs} epochs x {work.minibatches} minibatches" if kind == "ppo" else f", horizon {work.horizon}"
    setting = {
        "race": f"{kind}, {work.game}, {size}, fp32",
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": machine(work),
        "revision": code,
        "python": platform.python_version(),
        "measured": f"{repeats} repeats of {work.iterations} iterations each, in turns, after one that warms up",
    }
    emulator = emulator_of(work.game, work.envs, work.threads) if kind == "ppo" else None
    found, failed, floors = race(entries, work, repeats, peers, emulator)
    unit = "env steps" if kind == "ppo" else "imagined steps"
    paragraphs = [
        f"# {setting['race']}",
        bullets([f"{key}: {value}" for key, value in setting.items() if key != "race"]),
        markdown(table(found, floors, entries, work, unit)),
        "Ratios are taken repeat by repeat: median (least - largest).",
        bullets(limit_lines(floors, work)),
        bullets(alike(kind, work)),
        bullets([f"{name}: {', '.join(map(' '.join, mine['versions'].items()))}" for name, mine in found.items()]),
        bullets([f"left out: {name}: {reason}" for name, reason in failed.items()]),
    ]
    text = "\n\n".join(filter(None, paragraphs)) + "\n"
    print(text)
    name = f"{time.strftime('%Y-%m-%d')}-{kind}-{work.game.replace('/', '-').lower()}-{work.threads}-threads"
    (results / f"{name}.md").write_text(text)
    whole = {
        "setting": setting,
        "work": vars(work),
        "contenders": found,
        "failed": failed,
        "limits": [limit._asdict() for limit in floors],
    }
    (results / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    return not failed


def bullets(lines: Sequence[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def main(words: Sequence[str]) -> int:
    """Runs the races that were asked for."""
    if {"--help", "-h", "help"} & set(words):
        print(__doc__)
        return 0
    own = {
        "race": "ppo,imagine,dreams",
        "contenders": "",
        "repeats": "3",
        "peers": str(ROOT / ".venv-peers" / "bin" / "python"),
        "results": str(HERE.parent / "results"),
    }
    given = {"iterations": "2"} | dict(word.partition("=")[::2] for word in words)
    own |= {key: value for key, value in given.items() if key in own}
    work = parse([f"{key}={value}" for key, value in given.items() if key not in own])
    races, results = own["race"].split(","), Path(own["results"])
    chosen = {kind: own["contenders"].split(",") if own["contenders"] else default(kind, work) for kind in races}
    if not own["repeats"].isdecimal() or int(own["repeats"]) < 1 or not results.is_dir():
        raise SystemExit("repeats: a whole number of at least 1; results: a directory that exists.")
    for kind, names in chosen.items():
        if kind not in ENTRIES:
            raise SystemExit(f"race={kind}: allowed: {', '.join(ENTRIES)}.")
        for name in names:
            if name not in ENTRIES[kind]:
                raise SystemExit(f"contenders={name}: allowed in {kind}: {', '.join(ENTRIES[kind])}.")
    prepare(work.threads)  # the limits are this process's to measure
    repeats, peers, code = int(own["repeats"]), own["peers"], revision()  # before a table of ours makes it dirty
    try:
        arrived = [compare(kind, names, work, repeats, peers, results, code) for kind, names in chosen.items()]
    except UserError as error:
        raise SystemExit(str(error)) from error
    return 0 if all(arrived) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
