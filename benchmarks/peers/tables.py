"""From measured iterations to tables and sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from contenders import Entry
from limits import Limits
from protocol import Work


def rates(rows: Sequence[dict[str, float]], key: str, iterations: int) -> list[float]:
    """Steps per second of each repeat."""
    repeats = [rows[i : i + iterations] for i in range(0, len(rows), iterations)]
    return [sum(row["steps"] for row in repeat) / sum(row[key] for row in repeat) for repeat in repeats]


def spread(values: Sequence[float], form: str) -> str:
    """Median (least - largest)."""
    return f"{median(values):{form}} ({min(values):{form}} - {max(values):{form}})"


def table(
    found: dict[str, Any], floors: Sequence[Limits], entries: dict[str, Entry], work: Work, unit: str
) -> list[list[str]]:
    """One row per contender, the first row names the columns."""
    speeds = {
        name: {key: rates(contender["rows"], key, work.iterations) for key in ("seconds", "cpu_seconds")}
        for name, contender in found.items()
    }
    rivals = [name for name in speeds if not entries[name].ours]
    floor = median(limit.seconds for limit in floors) if floors else None
    header = ["contender", f"{unit}/s", "x fastest peer", f"{unit}/CPU s", "x fastest peer by CPU time"]
    header += ["share of the limit"] if floor else []
    lines = [[*header, "parameters", "start, s", "first iteration, s"]]
    for name, mine in speeds.items():
        line = [name]
        for key in ("seconds", "cpu_seconds"):
            line.append(spread(mine[key], ",.0f"))
            if rivals:
                fastest = max(rivals, key=lambda rival: median(speeds[rival][key]))
                line.append(spread([a / b for a, b in zip(mine[key], speeds[fastest][key], strict=True)], ".2f"))
            else:
                line.append("-")
        if floor:
            line.append(f"{median(mine['cpu_seconds']) * floor / work.batch:.0%}")
        ready = found[name]
        line += [f"{ready['parameters']:,}", f"{ready['start_seconds']:.1f}", f"{ready['warm_up_seconds']:.1f}"]
        lines.append(line)
    return lines


def limit_lines(floors: Sequence[Limits], work: Work) -> list[str]:
    """The limits in sentences, medians over repeats."""
    if not floors:
        return []

    def middle(value: Callable[[Limits], float]) -> float:
        return median(value(floor) for floor in floors)

    emulator = spread([floor.emulator_steps_per_second for floor in floors], ",.0f")
    per_cpu = work.batch / middle(lambda floor: floor.emulator)
    lines = [
        f"Bare emulator, random actions, no network: {emulator} env steps/s, {per_cpu:,.0f} per CPU second.",
        f"Arithmetic of an iteration: {floors[0].flops / 1e9:,.0f} GFLOP.",
        f"Limit: emulator {middle(lambda x: x.emulator):.2f}, acting {middle(lambda x: x.inference):.2f}, "
        f"update {middle(lambda x: x.update):.2f} CPU s an iteration, together "
        f"{work.batch / middle(lambda x: x.seconds):,.0f} env steps per CPU second.",
    ]
    for name in floors[0].forward:
        forward = median(floor.forward[name].rate for floor in floors)
        both = median(floor.backward[name].rate for floor in floors)
        lines.append(
            f"{name}: {forward:.0f} GFLOP/s per core forward on {work.envs}, {both:.0f} forward and backward on "
            f"{work.minibatch}."
        )
    return lines


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
