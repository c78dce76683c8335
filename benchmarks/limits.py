"""What this machine could do at best: the bare emulator, and the arithmetic of PPO's update on Nature CNN.

    python benchmarks/limits.py [game=pong] [envs=128] [steps=8] [epochs=4] [minibatches=4] [threads=1]

Each layer's product is timed by itself, forward, and forward and backward, in the memory format that suits it best;
with torch set as `dreamspi train` sets it, that is the machine's measured rate for this shape. An iteration can't take
less than emulator and layers together, as long as they take turns. Seconds are of CPU time over all threads, the least
of some tries: a busy machine hardly changes them, and rates read as per core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv

from dreamspi.machine import prepare

TRIES = 3
#: Inputs [channels, side], then filters, kernel, stride; the dense layer is a convolution over its whole input.
LAYERS = {
    "8x8/4, 32 filters": (4, 84, 32, 8, 4),
    "4x4/2, 64 filters": (32, 20, 64, 4, 2),
    "3x3/1, 64 filters": (64, 9, 64, 3, 1),
    "dense 512": (64, 7, 512, 7, 7),
}
DEFAULTS = {"game": "pong", "envs": 128, "steps": 8, "epochs": 4, "minibatches": 4, "threads": 1}


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
    """Least CPU time of some tries, after one that warms up."""
    call()
    found = []
    for _ in range(TRIES):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


def layer(batch: int, name: str, backward: bool) -> Layer:
    """A layer's product on ``batch`` inputs, with both gradients where ``backward`` (the first needs only one)."""
    channels, side, filters, kernel, stride = LAYERS[name]
    first = channels == 4
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


class Emulator:
    """ALE's vector environment and nothing else, with random actions."""

    def __init__(self, game: str, envs: int, threads: int) -> None:
        self.games = AtariVectorEnv(game, envs, num_threads=threads, reward_clipping=False)
        self.games.reset(seed=0)
        self.actions = np.random.default_rng(0).integers(self.games.single_action_space.n, size=(64, envs))
        self.steps(64)

    def steps(self, count: int) -> tuple[float, float]:
        """Wall and CPU seconds of ``count`` steps of all copies."""
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(count):
            self.games.step(self.actions[step % 64])
        return time.perf_counter() - wall, time.process_time() - cpu


def limits(emulator: Emulator, envs: int, steps: int, epochs: int, minibatches: int) -> Limits:
    """The limits of an iteration; torch's threads and settings are those of this process."""
    count = max(steps, 64)
    wall, cpu = emulator.steps(count)
    minibatch = envs * steps // minibatches
    forward = {name: layer(envs, name, backward=False) for name in LAYERS}
    backward = {name: layer(minibatch, name, backward=True) for name in LAYERS}
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
    """Prints the limits."""
    chosen = dict(DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if key not in DEFAULTS or not equals or (key != "game" and not value.isdecimal()):
            print(
                f"{word}: allowed: {', '.join(f'{name}={value}' for name, value in DEFAULTS.items())}", file=sys.stderr
            )
            return 2
        chosen[key] = value if key == "game" else int(value)
    game, threads = chosen.pop("game"), chosen.pop("threads")
    if game not in roms.get_all_rom_ids():
        print(f"game={game}: no such ROM; write pong, space_invaders.", file=sys.stderr)
        return 2
    prepare(threads)
    found = limits(Emulator(game, chosen["envs"], threads), **chosen)
    print(f"emulator alone: {found.emulator_steps_per_second:,.0f} env steps/s by the clock")
    print(f"arithmetic of an iteration: {found.flops / 1e9:,.1f} GFLOP")
    for name in LAYERS:
        print(
            f"{name:>20}: {found.forward[name].rate:5.1f} GFLOP/s forward on {chosen['envs']}, "
            f"{found.backward[name].rate:5.1f} forward and backward on "
            f"{chosen['envs'] * chosen['steps'] // chosen['minibatches']}"
        )
    for part in ("emulator", "inference", "update"):
        print(f"{part:>20}: {getattr(found, part):6.3f} CPU s an iteration")
    steps = chosen["envs"] * chosen["steps"]
    print(f"limit: {found.seconds:.3f} CPU s for {steps} steps, {steps / found.seconds:,.0f} env steps per CPU second")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
