"""How an iteration's time grows with the work: copies, steps, imagination horizon and latent size, one at a time.

    python -m benchmarks.growth [axes=num_envs,num_steps,horizon,latent] [iterations=4] [repeats=3] [json=<file>]
                                [any override of `dreamspi train`, such as env=minatar/breakout planner=hybrid]

On each axis the setting, its double and its fourfold live in one process and take turns, iteration by iteration, as
in `benchmarks/throughput.py`, whose phases are shown. The power is that of the size which the time grows with between
the setting and its fourfold: 1 where twice the work takes twice the time, 0 where it is free.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig

from benchmarks.throughput import aligned, answered, machine, measure, publish, separated, table
from dreamspi.building import make_env, observed
from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.machine import prepare
from world_models.encoders import ENCODERS, SUGGESTIONS

FACTORS = (1, 2, 4)
#: The argument of an encoder that is the size of its latent; the feature map of ``nature_cnn`` has none.
LATENT = {"dense_cnn": "latent", "small_cnn": "width", "mlp": "latent"}


def latent(config: DictConfig) -> tuple[int, str]:
    """See ``AXES``. Raises UserError for an encoder whose latents have no size of their own."""
    name = config.world_model.get("encoder")
    if name in SUGGESTIONS:
        env = make_env(config, num_envs=1, training=True)
        name = SUGGESTIONS[name](observed(env)[0])
        env.close()
    if name not in LATENT:
        raise UserError(f"axes=latent: needs world_model.encoder={' or '.join(LATENT)}, here it is {name}.")
    size = inspect.signature(ENCODERS[name]).parameters[LATENT[name]].default
    path = f"{ENCODERS[name].__module__}.{ENCODERS[name].__name__}"
    return size, f"world_model.encoder={{_target_: {path}, _partial_: true, {LATENT[name]}: %d}}"


def horizon(config: DictConfig) -> tuple[int, str]:
    """See ``AXES``. Raises UserError for a planner that doesn't dream."""
    if config.planner.get("dream") is None:
        raise UserError(f"axes=horizon: planner={config.choices.planner} does not dream.")
    return config.planner.dream.horizon, "planner.dream.horizon=%d"


#: By axis, the size that a setting has, and the override that gives it another.
AXES: dict[str, Callable[[DictConfig], tuple[int, str]]] = {
    "num_envs": lambda config: (config.num_envs, "num_envs=%d"),
    "num_steps": lambda config: (config.num_steps, "num_steps=%d"),
    "horizon": horizon,
    "latent": latent,
}
DEFAULTS = {"axes": ",".join(AXES), "iterations": "4", "repeats": "3", "json": ""}


def main(words: Sequence[str]) -> int:
    """Measures, prints, and returns the exit code; a user's mistake is one line on stderr."""
    return answered(words, __doc__, lambda: report(*separated(words, DEFAULTS, {"axes": tuple(AXES)})))


def report(chosen: dict[str, Any], overrides: Sequence[str]) -> None:
    """Measures axis by axis and prints; writes ``json=<file>`` where it was asked for."""
    config = compose(overrides)
    prepare(config.threads)
    races = {axis: race(axis, config, overrides) for axis in chosen["axes"]}  # all wrong input before any work
    found = {axis: measure(configs, chosen["iterations"], chosen["repeats"]) for axis, configs in races.items()}
    setting = {
        "setting": ", ".join(config.choices[group] for group in ("env", "world_model", "planner")),
        "overrides": " ".join(overrides),
        "measured": f"{chosen['repeats']} x {chosen['iterations']} iterations",
        **machine(config.device),
    }
    powers = {axis: power(results) for axis, results in found.items()}
    grown = [["axis", "power"], *([axis, f"{value:.2f}"] for axis, value in powers.items())]
    text = "\n\n".join([*map(table, found.values()), aligned(grown)])
    publish(setting, text, chosen["json"], axes=found, powers=powers)


def race(axis: str, config: DictConfig, overrides: Sequence[str]) -> dict[str, DictConfig]:
    """The settings of one axis by name, the smallest first."""
    size, word = AXES[axis](config)
    return {f"{axis}={n}": compose([*overrides, word % n]) for n in (size * factor for factor in FACTORS)}


def power(results: dict[str, Any]) -> float:
    """Of the size, between the first setting and the last."""
    return math.log(list(results.values())[-1]["ratio"]["median"]) / math.log(FACTORS[-1] / FACTORS[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
