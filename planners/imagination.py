"""Imagined experience: a world model walked through by the latent policy.

Nothing in a dream carries gradient into the model. A terminated dream is absorbing: what comes after its end has no
weight (``alive``) and contributes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.distributions import Categorical

from planners.heads import Heads, log_prob_of
from world_models.contract import WorldModel

#: Latent numbers that are dreamt on together: wide latents go in pieces that stay in a processor's cache.
CHUNK = 800_000


#: How a dream ends, from the probability of an end at each step. ``sampled`` draws it, as the paper does.
#: ``expected`` weighs what follows with the probability of getting there, which has the same expectation and not
#: the spread: an end that is wrongly drawn once in 300 steps costs a whole return, and drowns small advantages.
ENDS: dict[str, Callable[[Tensor], Tensor]] = {"expected": torch.clone, "sampled": torch.bernoulli}


@torch.no_grad()
def imagine(world_model: WorldModel, heads: Heads, latent: Tensor, horizon: int, ends: str = "sampled") -> TensorDict:
    """Dreams ``horizon`` steps from each latent under the latent policy.

    For ``h = 1..H``: ``a ~ pi̅(.|z)``, ``z' ~ P̄(.|z,a)``, ``r = R̄(z,a)``, and an end with probability
    ``D̄(z,a,z')`` (Deep SPI's dream). Dreams still alive after the last step are truncated, not terminated.

    Args:
        latent: starts ``[M, *latent_shape]``.
        horizon: H, at least 1.
        ends: ``sampled`` or ``expected``, see ``ENDS``.

    Returns:
        A TensorDict ``[M, H]``: ``latent``, ``action``, ``action_log_prob``, ``logits`` (of the policy that
        dreamt), ``state_value``, ``alive`` (weight in [0, 1]: the probability that the step is reached, or whether
        it is), and ``next`` with ``latent``, ``state_value``, ``reward``, ``termination`` (probability of an end
        here, or 0 and 1), ``terminated``, ``truncated``, ``done``.
    """
    latents, heads_out, imagined, actions, terminations = [latent], [heads(latent)], [], [], []
    for _ in range(horizon):
        actions.append(Categorical(logits=heads_out[-1].logits, validate_args=False).sample())
        imagined.append(world_model.imagine(latents[-1], actions[-1]))
        terminations.append(ENDS[ends](imagined[-1].termination))
        latents.append(imagined[-1].next_latent)
        heads_out.append(heads(latents[-1]))
    walk = torch.stack(latents, 1)
    logits = torch.stack([out.logits for out in heads_out], 1)
    value = torch.stack([out.value for out in heads_out], 1).unsqueeze(-1)
    action = torch.stack(actions, 1)
    termination = torch.stack(terminations, 1)
    going_on = (1.0 - termination).cumprod(1)
    alive = torch.cat((torch.ones_like(going_on[:, :1]), going_on[:, :-1]), 1)
    terminated = going_on == 0.0
    truncated = torch.zeros_like(terminated)
    truncated[:, -1] = ~terminated[:, -1]
    reward = torch.stack([step.reward for step in imagined], 1) * (alive > 0.0)
    return TensorDict(
        {
            "latent": walk[:, :-1],
            "action": action,
            "action_log_prob": log_prob_of(logits[:, :-1], action),
            "logits": logits[:, :-1],
            "state_value": value[:, :-1],
            "alive": alive,
            "next": {
                "latent": walk[:, 1:],
                "state_value": value[:, 1:],
                "reward": reward.unsqueeze(-1),
                "termination": termination.unsqueeze(-1),
                "uncertainty": torch.stack([step.uncertainty for step in imagined], 1).unsqueeze(-1),
                "terminated": terminated.unsqueeze(-1),
                "truncated": truncated.unsqueeze(-1),
                "done": (terminated | truncated).unsqueeze(-1),
            },
        },
        batch_size=action.shape,
    )


def summary(dream: TensorDictBase) -> dict[str, float]:
    """What a dream looked like: undiscounted imagined reward per dream, share terminated, mean length in steps, and the
    model's mean uncertainty of a step."""
    after, alive = dream["next"], dream["alive"]
    end = alive[:, -1] * (1.0 - after["termination"][:, -1, 0])
    return {
        "dream/reward": float((after["reward"].squeeze(-1) * alive).sum(1).mean()),
        "dream/terminated": float((1.0 - end).mean()),
        "dream/length": float(alive.sum(1).mean()),
        "dream/uncertainty": float((after["uncertainty"].squeeze(-1) * alive).sum() / alive.sum()),
    }
