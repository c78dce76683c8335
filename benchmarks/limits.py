"""What this machine could do at best: the bare emulator, and the arithmetic of PPO's update on its network.

    python benchmarks/limits.py [env=atari/Pong] [any override of `dreamspi train planner=ppo`, such as threads=1 ...]

It reads the game, `num_envs`, `num_steps`, `planner.ground.epochs`, `planner.ground.minibatches` and `threads`. The
network is the Nature CNN on Atari, the small one on MinAtar, each with a dense layer of 512 before the heads.

Each layer's product is timed by itself, forward, and forward and backward, in the memory format that suits it best;
with torch set as `dreamspi train` sets it, that is the machine's measured rate for this shape. An iteration can't take
less than emulator and layers together, as long as they take turns. Seconds are of CPU time over all threads, the least
of some tries: a busy machine hardly changes them, and rates read as per core.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from ale_py.vector_env import AtariVectorEnv
from minatar import Environment

from dreamspi.catalogue import chooses
from dreamspi.config import compose
from dreamspi.cores import cores
from dreamspi.envs.atari import games
from dreamspi.envs.minatar import GAMES
from dreamspi.errors import EXIT_USER_ERROR, UserError, tell, unknown
from dreamspi.machine import prepare

TRIES = 3
STRETCH = 0.1  # seconds
#: The large layers of each family's network, in order: inputs [channels, side], then filters, kernel, stride; a dense
#: layer is a convolution over its whole input. MinAtar's pictures have 4 to 10 channels, counted as 4, Breakout's.
LAYERS = {
    "atari": {
        "8x8/4, 32 filters": (4, 84, 32, 8, 4),
        "4x4/2, 64 filters": (32, 20, 64, 4, 2),
        "3x3/1, 64 filters": (64, 9, 64, 3, 1),
        "dense 512": (64, 7, 512, 7, 7),
    },
    "minatar": {
        "3x3/1, 16 filters": (4, 10, 16, 3, 1),
        "dense 128": (16, 8, 128, 8, 8),
        "dense 512": (128, 1, 512, 1, 1),
    },
}


class Layer(NamedTuple):
    """One layer's work on a batch, done once."""

    flops: float
    seconds: float

    @property
    def rate(self) -> float:
        """GFLOP per second of CPU time."""
        return self.flops / self.seconds / 1e9


class Limits(NamedTuple):
    """CPU seconds of one iteration's parts at the machine's own rates, and what they consist of."""

    emulator: float
    inference: float
    update: float
    flops: float
    emulator_steps_per_second: float
    forward: dict[str, Layer]
    backward: dict[str, Layer]

    @property
    def seconds(self) -> float:
        """CPU seconds of the whole iteration."""
        return self.emulator + self.inference + self.update


def best(call: Callable[[], object]) -> float:
    """Least CPU time of some tries, each the mean of as many calls as fill ``STRETCH``, after one that warms up.

    The system counts what other threads have worked a few milliseconds late, so that a single short call that is shared
    out would seem to cost a half.
    """
    call()
    found = []
    for _ in range(TRIES):
        calls, wall, started = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < STRETCH:
            call()
            calls += 1
        found.append((time.process_time() - started) / calls)
    return min(found)


def layer(batch: int, shape: tuple[int, int, int, int, int], first: bool, backward: bool) -> Layer:
    """A layer's product on ``batch`` inputs, with both gradients where ``backward`` (the first needs only one)."""
    channels, side, filters, kernel, stride = shape
    out = ((side - kernel) // stride + 1) ** 2
    flops = 2.0 * batch * out * filters * channels * kernel**2 * ((2 if first else 3) if backward else 1)
    if side == kernel:
        shapes = ((batch, channels * side**2), (filters, channels * side**2))
        formats, product = [torch.contiguous_format], F.linear
    else:
        shapes = ((batch, channels, side, side), (filters, channels, kernel, kernel))
        formats = [torch.contiguous_format, torch.channels_last]

        def product(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return F.conv2d(inputs, weight, stride=stride)

    seconds = []
    for memory_format in formats:
        inputs, weight = (torch.randn(shape).contiguous(memory_format=memory_format) for shape in shapes)
        wanted = [weight] if first else [inputs, weight]
        if backward:
            for tensor in wanted:
                tensor.requires_grad_()
        ahead = torch.randn_like(product(inputs, weight))

        def both(inputs=inputs, weight=weight, wanted=wanted, ahead=ahead) -> None:
            torch.autograd.grad(product(inputs, weight), wanted, ahead)

        def once(inputs=inputs, weight=weight) -> None:
            product(inputs, weight)

        seconds.append(best(both if backward else once))
    return Layer(flops, min(seconds))


class Emulator(ABC):
    """An emulator and nothing else, with random actions."""

    family: str

    def __init__(self, actions: int, envs: int) -> None:
        self.actions = np.random.default_rng(0).integers(actions, size=(64, envs))
        self.steps(64)

    @abstractmethod
    def step(self, actions: np.ndarray) -> None:
        """One step of all copies; each shows what is seen then, and games that are over begin anew."""

    def steps(self, count: int) -> tuple[float, float]:
        """Wall and CPU seconds of ``count`` steps of all copies."""
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(count):
            self.step(self.actions[step % 64])
        return time.perf_counter() - wall, time.process_time() - cpu


class Atari(Emulator):
    """ALE's vector environment."""

    family = "atari"

    def __init__(self, rom: str, envs: int, threads: int) -> None:
        self.games = AtariVectorEnv(rom, envs, num_threads=threads, reward_clipping=False)
        self.games.reset(seed=0)
        super().__init__(int(self.games.single_action_space.n), envs)

    def step(self, actions: np.ndarray) -> None:
        self.games.step(actions)


class MinAtar(Emulator):
    """MinAtar's own games, one after the other: they are Python, and have no threads."""

    family = "minatar"

    def __init__(self, name: str, envs: int) -> None:
        self.games = [Environment(name) for _ in range(envs)]
        super().__init__(self.games[0].num_actions(), envs)

    def step(self, actions: np.ndarray) -> None:
        for game, action in zip(self.games, actions.tolist(), strict=True):
            if game.act(action)[1]:
                game.reset()
            game.state()


def emulator_of(env: str, envs: int, threads: int) -> Emulator:
    """That of ``atari/<Name>`` or ``minatar/<name>``. Raises UserError for another environment."""
    family, _, name = env.partition("/")
    names = {"atari": list(games()), "minatar": list(GAMES)}
    if family not in names:
        allowed = ", ".join(f"{known}/<name>" for known in names)
        raise UserError(f"env={env}: its emulator and network are not known here. Allowed: {allowed}.")
    if name not in names[family]:
        raise unknown("env.name", name, names[family])
    return Atari(games()[name], envs, threads) if family == "atari" else MinAtar(name, envs)


def limits(emulator: Emulator, envs: int, steps: int, epochs: int, minibatches: int) -> Limits:
    """The limits of an iteration; torch's threads and settings are those of this process."""
    count = max(steps, 64)
    wall, cpu = emulator.steps(count)
    minibatch = envs * steps // minibatches
    shapes = LAYERS[emulator.family]
    first = next(iter(shapes))
    forward = {name: layer(envs, shape, name == first, backward=False) for name, shape in shapes.items()}
    backward = {name: layer(minibatch, shape, name == first, backward=True) for name, shape in shapes.items()}
    inferences, updates = steps + 1, epochs * minibatches
    return Limits(
        emulator=cpu * steps / count,
        inference=inferences * sum(found.seconds for found in forward.values()),
        update=updates * sum(found.seconds for found in backward.values()),
        flops=inferences * sum(x.flops for x in forward.values()) + updates * sum(x.flops for x in backward.values()),
        emulator_steps_per_second=count * envs / wall,
        forward=forward,
        backward=backward,
    )


def main(words: Sequence[str]) -> int:
    """Prints the limits, and returns the exit code; a user's mistake is one line on stderr."""
    if {"--help", "-h", "help"} & set(words):
        print(__doc__)
        return 0
    try:
        report(words)
    except UserError as error:
        tell(error)
        return EXIT_USER_ERROR
    return 0


def report(overrides: Sequence[str]) -> None:
    """Measures and prints the limits of ``ppo`` with these overrides."""
    typed = {word.partition("=")[0] for word in overrides}
    if "planner" in typed:
        raise UserError("planner: not here; the limits are those of ppo.")
    config = compose([*overrides, "planner=ppo", *([] if chooses(overrides, "env") else ["env=atari/Pong"])])
    envs, steps, ground = config.num_envs, config.num_steps, config.planner.ground
    emulator = emulator_of(config.choices.env, envs, config.threads or cores())
    prepare(config.threads)
    found = limits(emulator, envs, steps, ground.epochs, ground.minibatches)
    print(f"emulator alone: {found.emulator_steps_per_second:,.0f} env steps/s by the clock")
    print(f"arithmetic of an iteration: {found.flops / 1e9:,.1f} GFLOP")
    for name in found.forward:
        print(
            f"{name:>20}: {found.forward[name].rate:5.1f} GFLOP/s forward on {envs}, "
            f"{found.backward[name].rate:5.1f} forward and backward on {envs * steps // ground.minibatches}"
        )
    for part in ("emulator", "inference", "update"):
        print(f"{part:>20}: {getattr(found, part):6.3f} CPU s an iteration")
    rate = envs * steps / found.seconds
    print(f"limit: {found.seconds:.3f} CPU s for {envs * steps} steps, {rate:,.0f} env steps per CPU second")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
