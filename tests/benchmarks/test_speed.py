"""It stays fast: processor time of an iteration, over that of a plain PPO loop on the same work in the same process."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest
import torch

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
GAME = "minatar/breakout"

#: About 1.3 times what was measured (``benchmarks/notes.md``): a machine's noise passes, a lost optimization doesn't.
LIMITS = {"ppo": 1.4, "deepspi": 2.7, "dreamspi": 6.0}


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def processor_time(iterate: Callable[[], object], iterations: int = 4) -> float:
    """Seconds of ``iterations`` iterations; four hold one row of metrics.csv, as in training."""
    started = time.process_time()
    for _ in range(iterations):
        iterate()
    return time.process_time() - started


def test_every_planner_stays_near_a_plain_loop(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    protocol, plain, ours = (importlib.import_module(n) for n in ("protocol", "cleanrl_style_ppo", "dreamspi_planner"))
    reference = plain.build(protocol.Work(game=GAME))
    contenders = {name: ours.build(protocol.Work(game=GAME, planner=name)) for name in LIMITS}
    assert contenders["ppo"].parameters == reference.parameters, "not the same network"
    ratios: dict[str, list[float]] = {name: [] for name in LIMITS}
    for contender in (reference, *contenders.values()):
        contender.iterate()
    for _ in range(3):
        seconds = processor_time(reference.iterate)
        for name, contender in contenders.items():
            ratios[name].append(processor_time(contender.iterate) / seconds)
    found = {name: median(values) for name, values in ratios.items()}
    assert all(found[name] <= limit for name, limit in LIMITS.items()), f"slower than it was: {found}"
