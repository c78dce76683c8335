"""The emulator that the peers play on: ALE's own vector environment, with the options that DreamSPI uses.

ALE clips rewards, ends an episode with a life and begins a new game in the same step, all in C++: the cheapest way,
which leaves the peers nothing to do in Python.
"""

from __future__ import annotations

from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from protocol import Work


def atari(work: Work) -> AtariVectorEnv:
    """Copies of an Atari game: 84 x 84 grey, 4 frames, frame skip 4, up to 30 no-ops, rewards clipped."""
    return AtariVectorEnv(
        work.rom,
        work.envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        num_threads=work.threads,
        frameskip=4,
        stack_num=4,
        img_height=84,
        img_width=84,
        noop_max=30,
        repeat_action_probability=0.0,
        full_action_space=False,
        use_fire_reset=True,
        max_num_frames_per_episode=108_000,
        reward_clipping=True,
        life_loss_info=True,
    )
