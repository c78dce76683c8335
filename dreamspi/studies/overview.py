"""What the terminal shows of a study at work: how many trainings are where, how far, and the time left."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dreamspi.metrics_file import STEP, read_last_row
from dreamspi.studies.design import Cell
from dreamspi.studies.store import State, Study

#: Seconds between two looks at the study's directory: on a terminal, elsewhere.
LIVE_PERIOD, PLAIN_PERIOD = 1.0, 30.0
#: Trainings at work that are shown one by one.
MOST_SHOWN = 12


class Standing(NamedTuple):
    """Where one cell is.

    Attributes:
        cell: the cell.
        state: how far.
        steps: environment steps in its log.
        seconds: of training that they took.
    """

    cell: Cell
    state: State
    steps: int
    seconds: float


def standings(study: Study) -> list[Standing]:
    """Of every cell."""
    return [_standing(study, cell) for cell in study.cells.values()]


def _standing(study: Study, cell: Cell) -> Standing:
    state = study.state(cell)
    if state is State.WAITING:
        return Standing(cell, state, 0, 0.0)
    if state is State.FINISHED:
        return Standing(cell, state, cell.steps, float((study.summary(cell) or {}).get("wall_seconds", 0.0)))
    row = read_last_row(study.run_directory(cell) / "metrics.csv")
    return Standing(cell, state, int(row.get(STEP) or 0), float(row.get("time/seconds") or 0.0))


def seconds_left(found: Sequence[Standing], at_a_time: int) -> float | None:
    """Seconds until all is trained, by the speed so far of trainings like those that are left; None before any."""
    speeds: dict[tuple[str, str | None], list[float]] = {}
    for one in found:
        if one.steps and one.seconds:
            for key in ((one.cell.env, one.cell.arm), (one.cell.env, None), ("", None)):
                speeds.setdefault(key, []).append(one.seconds / one.steps)
    if not speeds:
        return None
    left = 0.0
    for one in found:
        if one.state in (State.WAITING, State.RUNNING, State.INTERRUPTED):
            keys = ((one.cell.env, one.cell.arm), (one.cell.env, None), ("", None))
            left += (one.cell.steps - one.steps) * fmean(next(speeds[key] for key in keys if key in speeds))
    return left / max(at_a_time, 1)


def summary_line(found: Sequence[Standing], left: float | None = None) -> str:
    """``3 finished, 2 running, 10 waiting; about 12 min left``."""
    counts = Counter(one.state for one in found)
    order = (State.FINISHED, State.RUNNING, State.INTERRUPTED, State.FAILED, State.WAITING)
    told = ", ".join(f"{counts[state]} {state}" for state in order if counts[state]) or "no cells"
    return told if left is None else f"{told}; about {duration(left)} left"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def failures(study: Study) -> list[str]:
    """One line for each failed cell: which, why, and where its log is."""
    failed = [cell for cell in study.cells.values() if study.state(cell) is State.FAILED]
    return [f"failed: {cell.id}: {study.outcome(cell).get('reason')}  ({study.log(cell)})" for cell in failed]


class Overview:
    """Shows a study while it runs, from another thread: launchers block.

    Args:
        study: the study.
        selected: what runs now, of all its cells.
    """

    def __init__(self, study: Study, selected: Sequence[Cell]) -> None:
        self.study, self.selected = study, {cell.id for cell in selected}
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live if self.console.is_terminal else self._plain, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> tuple[list[Standing], float | None]:
        found = standings(self.study)
        running = sum(one.state is State.RUNNING for one in found)
        return found, seconds_left([one for one in found if one.cell.id in self.selected], running)

    def _plain(self) -> None:
        while not self._over.wait(PLAIN_PERIOD):
            self.console.print(summary_line(*self._look()), markup=False)

    def _live(self) -> None:
        with Live(console=self.console, refresh_per_second=2) as live:
            while not self._over.wait(LIVE_PERIOD):
                live.update(_picture(*self._look()))
            live.update(Text(""))


def _picture(found: Sequence[Standing], left: float | None) -> Group:
    running = [one for one in found if one.state is State.RUNNING]
    table = Table.grid(padding=(0, 1))
    for one in running[:MOST_SHOWN]:
        bar = ProgressBar(one.cell.steps, one.steps, width=20)
        speed = one.steps / one.seconds if one.seconds else 0.0
        table.add_row(f"{one.cell.env}  {one.cell.arm}  seed {one.cell.seed}", bar, f"{speed:,.0f}/s")
    done = sum(one.steps for one in found)
    whole = ProgressBar(sum(one.cell.steps for one in found), done, width=40)
    return Group(Text(summary_line(found, left)), whole, table)
