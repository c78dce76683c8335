"""How near to a plain loop: processor time of an iteration over that of ``cleanrl_style_ppo``, in one process.

    python benchmarks/peers/near_plain.py [planners=ppo,deepspi,dreamspi] [game=minatar/breakout] [rounds=3]

Both compute under the same settings of torch, so that the ratio is of code alone. Prints the median ratio of each
planner as JSON; CI holds them below a limit (``tests/benchmarks/test_speed.py``).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

import cleanrl_style_ppo
import dreamspi_planner
import torch
from protocol import Work


def processor_time(iterate: Callable[[], object], iterations: int = 4) -> float:
    """Seconds of ``iterations`` iterations; four hold one row of metrics.csv, as in training."""
    started = time.process_time()
    for _ in range(iterations):
        iterate()
    return time.process_time() - started


def ratios(planners: Sequence[str], game: str, rounds: int) -> dict[str, float]:
    """Median ratio by planner, taken in turns on one thread."""
    torch.set_num_threads(1)
    contenders = {planner: dreamspi_planner.build(Work(game=game, planner=planner)) for planner in planners}
    plain = cleanrl_style_ppo.build(Work(game=game))
    for contender in (plain, *contenders.values()):
        contender.iterate()
    found: dict[str, list[float]] = {planner: [] for planner in planners}
    for _ in range(rounds):
        seconds = processor_time(plain.iterate)
        for planner, contender in contenders.items():
            found[planner].append(processor_time(contender.iterate) / seconds)
    return {planner: round(median(values), 3) for planner, values in found.items()}


def main(words: Sequence[str]) -> None:
    """Measures and prints."""
    given = {"planners": "ppo,deepspi,dreamspi", "game": "minatar/breakout", "rounds": "3"}
    for key, _, value in (word.partition("=") for word in words):
        if key not in given:
            raise SystemExit(f"{key}: no such key; allowed: {', '.join(f'{name}=' for name in given)}")
        given[key] = value
    if not given["rounds"].isdecimal() or int(given["rounds"]) < 1:
        raise SystemExit(f"rounds={given['rounds']}: must be a whole number of at least 1.")
    print(json.dumps(ratios(given["planners"].split(","), given["game"], int(given["rounds"]))), flush=True)
    os._exit(0)  # emulators have threads that would be waited for


if __name__ == "__main__":
    main(sys.argv[1:])
