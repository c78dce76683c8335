"""Latents of segments against the same, step by step: what is learnt from must be what is acted on."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from torch import Tensor

from world_models.checks.outcome import expect
from world_models.checks.subject import Subject, encode, step_by_step
from world_models.contract import WorldModel

TOLERANCE = 1e-4


@torch.no_grad()
def beliefs(subject: Subject) -> None:
    """latents and believe of a segment give what encode (and remember) give step by step, also past an end."""
    model = subject.model
    inputs = subject.inputs(model, 3)
    expect(
        torch.equal(encode(model, *inputs), encode(model, *inputs)),
        "encode: the same latent each time, as importance ratios are of a policy that sees the same twice",
        "another latent the second time",
        "encode. What is random belongs into transition; no dropout, no noise",
    )
    batch = subject.experience(model, 3, 6)
    latent, next_latent = _stepwise(model, batch)
    believed = model.believe(batch)
    for method, found, wanted in (
        ("latents", model.latents(batch), latent),
        ("believe(...)[0]", believed[0], latent),
        ("believe(...)[1]", believed[1], next_latent),
    ):
        same = found.shape == wanted.shape and torch.allclose(found, wanted, atol=TOLERANCE)
        expect(
            same,
            f"{method}: the latents {list(wanted.shape)} of encode, step by step",
            "others" if found.shape == wanted.shape else f"shape {list(found.shape)}",
            f"{method}: a segment begins with the memory in experience; z' is of the true successor; where an episode "
            "is done, the next step begins without memory",
        )


def _stepwise(model: WorldModel, batch: TensorDictBase) -> tuple[Tensor, Tensor]:
    """``z`` and ``z'`` of experience ``[S, L]`` by ``encode`` alone, as the deployed policy sees them."""
    if model.memory_spec is None:
        return encode(model, batch["observation"]), encode(model, batch["next", "observation"])
    return step_by_step(model, batch, batch["memory"][:, 0])[:2]
