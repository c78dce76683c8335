"""What all contenders share: the words of their command line, PPO's constants, and how they take turns.

A contender is a process. It builds what it needs, warms up by one iteration, and prints a line of JSON: network
parameters, versions, and the seconds that the warm-up took. Then follow ``iterations`` lines, one for each
measured iteration. With ``turns=true`` it waits for a line on stdin before each, so that contenders can alternate while
all of them stay warm. Whatever else a library prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any, NamedTuple

LEARNING_RATE = 2.5e-4
ADAM_EPS = 1e-5
GAMMA = 0.99
LAMBDA = 0.95
CLIP = 0.1
VALUE = 0.5
ENTROPY = 0.01
MAX_GRAD_NORM = 0.5
#: Widths of the dense layer between encoder and heads, by family of games.
DENSE = {"atari": 512, "minatar": 512}


@dataclass(frozen=True)
class Work:
    """One iteration's work, and how often to do it.

    Attributes:
        game: ``atari/Pong``, ``minatar/breakout``.
        envs, steps: copies of the game, and steps of each per iteration; dreams start at as many states.
        epochs, minibatches: passes over an iteration's experience, and updates per pass.
        threads: of torch, and of the emulator.
        iterations: how many are measured.
        horizon: imagined steps per dream.
        phase: of dreams, ``whole`` (imagine, then update actor and critic) or ``imagine`` (no update).
        planner: which of DreamSPI's.
        precision: of DreamSPI's large layers, ``fp32`` or ``bf16``.
        emulator: of the CleanRL-style loop, ``ale`` or ``envpool``.
        turns: wait for a line on stdin before each iteration.
    """

    game: str = "atari/Pong"
    envs: int = 128
    steps: int = 8
    epochs: int = 4
    minibatches: int = 4
    threads: int = 1
    iterations: int = 3
    horizon: int = 8
    phase: str = "whole"
    planner: str = "ppo"
    precision: str = "fp32"
    emulator: str = "ale"
    turns: bool = False

    @property
    def batch(self) -> int:
        """Environment steps per iteration."""
        return self.envs * self.steps

    @property
    def minibatch(self) -> int:
        """Environment steps per update."""
        return self.batch // self.minibatches

    @property
    def family(self) -> str:
        """``atari`` or ``minatar``."""
        return self.game.partition("/")[0]

    @property
    def name(self) -> str:
        """The game's name within its family."""
        return self.game.partition("/")[2]

    @property
    def rom(self) -> str:
        """The name that ALE has for the game: ``UpNDown`` becomes ``up_n_down``."""
        from ale_py import registration, roms

        return {registration.rom_id_to_name(rom): rom for rom in roms.get_all_rom_ids()}[self.name]

    def words(self) -> list[str]:
        """The command line that ``parse`` reads."""
        return [f"{field.name}={getattr(self, field.name)}" for field in fields(self)]


def parse(words: Sequence[str]) -> Work:
    """Reads ``key=value`` words. Raises ``SystemExit`` with a sentence for one that can't be right."""
    kinds = {field.name: type(field.default) for field in fields(Work)}
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in kinds:
            raise SystemExit(f"{word}: no such key; allowed: {', '.join(f'{name}=' for name in kinds)}")
        try:
            found[key] = value.lower() in ("1", "true") if kinds[key] is bool else kinds[key](value)
        except ValueError as error:
            raise SystemExit(f"{word}: must be a whole number.") from error
    return Work(**found)


class Contender(NamedTuple):
    """What a contender builds before it is measured."""

    iterate: Callable[[], object]
    """Does one iteration."""
    steps: int
    """Environment steps, or imagined steps, of one iteration."""
    parameters: int
    """Trained parameters of its networks, or those that a dream evaluates."""
    packages: Sequence[str]
    """Packages whose versions a result depends on."""


def count(parameters: Any) -> int:
    """Number of scalars in parameters."""
    return sum(parameter.numel() for parameter in parameters)


def serve(build: Callable[[Work], Contender]) -> None:
    """Builds a contender from the command line and lets it run; see the module."""
    work = parse(sys.argv[1:])
    os.environ["OMP_NUM_THREADS"] = str(work.threads)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    contender = build(work)
    built = time.perf_counter()
    contender.iterate()
    ready = {
        "parameters": contender.parameters,
        "versions": {package: version(package) for package in ("torch", *contender.packages)},
        "warm_up_seconds": time.perf_counter() - built,
    }
    print(json.dumps(ready), file=out)
    for _ in range(work.iterations):
        if work.turns and not sys.stdin.readline():
            break
        wall, cpu = time.perf_counter(), time.process_time()
        contender.iterate()
        row = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({"steps": contender.steps, **row}), file=out)
    out.flush()
    os._exit(0)  # emulators and loggers have threads that would be waited for
