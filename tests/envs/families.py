"""One small example of each environment family and variant, for the tests that hold for all of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml
from hydra.utils import get_class

from dreamspi.config import RUNNER_KEYS
from dreamspi.envs.base import VectorEnv

CONFIGS = Path(__file__).parents[2] / "configs" / "env"
NOT_FOR_THE_CLASS = ("defaults", "_target_", *RUNNER_KEYS)


def settings(family: str) -> dict:
    """The YAML of a family, its ``defaults`` filled in."""
    own = yaml.safe_load((CONFIGS / f"{family}.yaml").read_text())
    base: dict = {}
    for parent in own.get("defaults", []):
        if parent != "_self_":
            base |= settings(parent)
    return base | own


def make(family: str, num_envs: int = 3, training: bool = True, **changes: object) -> VectorEnv:
    """An environment as the runner builds it from the YAML."""
    keys = settings(family)
    cls = get_class(keys["_target_"])
    keys = {key: value for key, value in keys.items() if key not in NOT_FOR_THE_CLASS}
    return cls(num_envs=num_envs, training=training, gamma=0.99, **keys | changes)


#: Each ends some episodes within 60 steps of 3 copies under random actions. ``training`` is left open.
EXAMPLES = {
    "maze": partial(make, "maze", max_steps=40),
    "maze_84": partial(make, "maze", picture="84", path_length=3, max_steps=40),
    "minatar_breakout": partial(make, "minatar", name="breakout"),
    "minatar_asterix": partial(make, "minatar", name="asterix", minimal_actions=False, max_steps=30),
    "minatar_freeway": partial(make, "minatar", name="freeway", max_steps=25),
    "minatar_seaquest": partial(make, "minatar", name="seaquest", max_steps=50),
    "minatar_space_invaders": partial(make, "minatar", name="space_invaders", max_steps=50),
    "gym_vector": partial(make, "gym", name="CartPole-v1"),
    "gym_discrete": partial(make, "gym", name="FrozenLake-v1"),
    "gym_image": partial(make, "gym", name="dreamspi.envs.maze_gymnasium:DreamSPI/Maze-v0"),
    "atari": partial(make, "atari", name="Breakout", num_threads=1),
    "atari_time_limit": partial(make, "atari", name="Pong", max_frames=150, num_threads=1),
    "atari_machado": partial(make, "atari_machado", name="Breakout", max_frames=150, num_threads=1),
    "atari_stochastic": partial(make, "atari_stochastic", name="Breakout", num_threads=1),
}
