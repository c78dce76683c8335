"""Real experience outside a training: an agent's games, step by step, and whole episodes of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import step_mdp

from dreamspi.envs.base import VectorEnv
from dreamspi.envs.memory import carrying
from dreamspi.errors import UserError
from planners.planner import Planner

#: Experience that is kept in memory at most; encoding it takes a few times as much.
MOST_BYTES = 1 << 30


@torch.no_grad()
def play_on(planner: Planner, env: VectorEnv) -> Iterator[TensorDictBase]:
    """Plays new games without end: each step ``[N]``, while ``env`` still stands where it led."""
    world = carrying(env, planner.memory_spec)
    state = world.reset()
    while True:
        after = world.step(planner.policy(state.to(planner.device)).cpu())
        yield after
        state = world.maybe_reset(step_mdp(after))


def play_episodes(planner: Planner, env: VectorEnv, episodes: int) -> TensorDict:
    """Whole learning episodes, one after the other: transitions ``[M]`` with their ``episode`` and ``step``.

    Each copy plays a share that is fixed in advance: taking the first episodes to end would favour short ones.
    """
    share = [len(range(i, episodes, env.num_envs)) for i in range(env.num_envs)]
    walks: list[list[list[TensorDictBase]]] = [[[]] for _ in share]
    steps = play_on(planner, env)
    held = 0
    while any(len(walk) <= wanted for walk, wanted in zip(walks, share, strict=True)):
        after = next(steps)
        held += after.bytes()
        if held > MOST_BYTES:
            raise UserError(
                f"episodes={episodes}: whole episodes of this length and size need more than {MOST_BYTES >> 30} GiB; "
                "give fewer episodes."
            )
        for walk, wanted, step, done in zip(walks, share, after.unbind(0), after["next", "done"], strict=True):
            if len(walk) <= wanted:
                walk[-1].append(step)
                if done:
                    walk.append([])
    whole = [steps for walk in walks for steps in walk[:-1]]
    data: TensorDict = torch.stack([step for steps in whole for step in steps])
    lengths = torch.tensor([len(steps) for steps in whole])
    data["episode"] = torch.repeat_interleave(torch.arange(len(whole)), lengths)
    data["step"] = torch.cat([torch.arange(n) for n in lengths.tolist()])
    return data.to(planner.device)
