"""What the terminal shows: a live bar with the numbers that matter, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich import progress as bars
from rich.console import Console
from rich.table import Table

from dreamspi.metrics_file import RECENT_GAMES
from dreamspi.run_directory import RunDirectory

#: Seconds between two plain lines where the output is no terminal.
PLAIN_PERIOD = 10.0
#: What is shown, in this order: metric and label.
SHOWN = {
    "train/return": "return",
    "maze_value": "value at start",
    "ground/loss_objective": "ground",
    "ground/loss_value": "critic",
    "ground/local_transition": "l_P",
    "ground/local_reward": "l_R",
    "dream/loss_objective": "dream",
    "dream/share": "trust",
}
#: Rows of the closing table: entry of the summary and its sentence.
TABLE = {
    "env_steps": "environment steps",
    "dream_steps": "imagined steps",
    "wall_seconds": "seconds of training",
    "steps_per_second": "environment steps per second",
    "games": "whole games",
    "return_mean": "mean return, all games",
    "return_last": f"mean return, last {RECENT_GAMES} games",
    "maze_value": "exact value of the final policy",
    "maze_optimum": "exact value of the best policy",
    "maze_latent_distance": "distance of the two choice cells' latents",
}


class Progress:
    """Shows a run.

    Args:
        total: environment steps of the whole run.
        run: the run, for its title and its directory.
    """

    def __init__(self, total: int, run: RunDirectory) -> None:
        self.total, self.run = total, run
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())
        self.latest: dict[str, float] = {}
        self._bar: bars.Progress | None = None
        self._begun = self._spoken = time.monotonic()
        self._first = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, step: int) -> None:
        """Begins at ``step``, which is above 0 in a resumed run."""
        choices = self.run.config.choices
        self.say(
            f"env={choices.env} world_model={choices.world_model} planner={choices.planner} "
            f"seed={self.run.config.seed}  ->  {self.run.path}"
        )
        self._first, self._begun, self._spoken = step, time.monotonic(), time.monotonic()
        if self.console.is_terminal:
            self._bar = bars.Progress(
                bars.BarColumn(bar_width=20),
                bars.MofNCompleteColumn(),
                bars.TextColumn("{task.fields[speed]}/s"),
                bars.TextColumn("{task.description}"),
                bars.TimeRemainingColumn(),
                console=self.console,
            )
            self._bar.add_task("", total=self.total, completed=step, speed="")
            self._bar.start()

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """After each iteration; metrics that this one lacks are shown as they last were."""
        self.latest.update(metrics)
        elapsed = time.monotonic() - self._begun
        speed = (step - self._first) / max(elapsed, 1e-9)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, description=self._numbers(), speed=f"{speed:,.0f}")
        elif time.monotonic() - self._spoken >= PLAIN_PERIOD or step >= self.total:
            self._spoken = time.monotonic()
            left = (self.total - step) / max(speed, 1e-9)
            self.say(f"{step}/{self.total} steps  {speed:,.0f}/s  {self._numbers()}  {left:.0f} s left")

    def _numbers(self) -> str:
        shown = [f"{label} {self.latest[key]:.3g}" for key, label in SHOWN.items() if key in self.latest]
        if "neighborhood/d_inf" in self.latest:
            shown.append(f"D {self.latest['neighborhood/d_inf']:.2f}..{self.latest['neighborhood/d_sup']:.2f}")
        return "  ".join(shown)

    def say(self, text: str) -> None:
        """One plain line."""
        self.console.print(text, markup=False)

    def table(self, summary: dict[str, Any]) -> None:
        """The result, beside what is best possible where that is known."""
        if self._bar is not None:
            self._bar.stop()
        table = Table(title=f"{summary['env']}  {summary['world_model']}  {summary['planner']}  seed {summary['seed']}")
        table.add_column("what")
        table.add_column("value", justify="right")
        for key, sentence in TABLE.items():
            if summary.get(key) is not None:
                table.add_row(sentence, _shown(summary[key]))
        self.console.print(table)
        path = self.run.path
        self.say(f"picture      {self.run.picture}")
        self.say(f"evaluate     dreamspi evaluate run={path} episodes=100")
        if (path / "tensorboard").is_dir():
            self.say(f"TensorBoard  tensorboard --logdir {path}")


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
