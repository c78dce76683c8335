"""The chart of the README: races from ``benchmarks/results``, one panel each.

    python benchmarks/peers/picture.py out=docs/images/speed.png <race>.json [<race>.json ...]

A bar is the median over repeats of steps per second of processor time, its whisker reaches from the least to the
largest; the dashed line is the limit, where the race measured one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # limits.py

from limits import Limits  # noqa: E402
from tables import rates  # noqa: E402

OURS, PEER, INK = "#1b7f5c", "#6f8aa3", "#333333"


def said(name: str) -> str:
    """A contender's name as the chart has it: ours are DreamSPI's planners, ``ppo`` where none is named."""
    ours, _, planner = name.partition("-")
    known = {"": "ppo", "bf16": "ppo, bf16"}
    return f"DreamSPI {known.get(planner, planner)}" if ours == "dreamspi" else name


def panel(axes: Axes, race: dict[str, Any]) -> None:
    """One race, the fastest on top."""
    work = race["work"]
    speeds = {name: rates(c["rows"], "cpu_seconds", work["iterations"]) for name, c in race["contenders"].items()}
    names = sorted(speeds, key=lambda name: median(speeds[name]))
    middle = [median(speeds[name]) for name in names]
    reach = [[m - min(speeds[n]), max(speeds[n]) - m] for n, m in zip(names, middle, strict=True)]
    colors = [OURS if name.startswith("dreamspi") else PEER for name in names]
    bars = [said(name) for name in names]
    axes.barh(bars, middle, color=colors, xerr=list(zip(*reach, strict=True)), error_kw={"ecolor": INK, "lw": 1})
    for bar, value, (_, above) in zip(bars, middle, reach, strict=True):
        axes.text(value + above, bar, f"  {value:,.0f}", va="center", color=INK, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if race["limits"]:
        limit = work["envs"] * work["steps"] / median(Limits(**limits).seconds for limits in race["limits"])
        axes.axvline(limit, color=INK, ls="--", lw=1)
        axes.text(limit, 0, "limit in fp32 ", ha="right", va="center", color=INK, fontsize=8)
    kind, *rest = race["setting"]["race"].split(", ")
    axes.set_title(f"{kind}: {', '.join(rest)}", fontsize=8)
    axes.set_xlabel("steps per second of processor time")
    axes.spines[["top", "right"]].set_visible(False)


def main(words: Sequence[str]) -> int:
    """Draws the files that are named."""
    out = [word.removeprefix("out=") for word in words if word.startswith("out=")]
    files = [Path(word) for word in words if not word.startswith("out=")]
    if len(out) != 1 or not files or not all(file.is_file() for file in files):
        print(__doc__, file=sys.stderr)
        return 2
    races = [json.loads(file.read_text()) for file in files]
    figure = Figure(figsize=(5.5 * len(races), 2.8), layout="constrained")
    for axes, race in zip(figure.subplots(1, len(races), squeeze=False)[0], races, strict=True):
        panel(axes, race)
    setting = races[0]["setting"]
    figure.supxlabel(f"{setting['machine'].partition(', load')[0]}, {setting['date'][:10]}", fontsize=8, color=INK)
    figure.savefig(out[0], dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
