"""Shapes, dtypes and devices, for any leading batch shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchrl.data import OneHot

from world_models.checks.outcome import CheckFailed, Skipped, expect, expect_tensor
from world_models.checks.subject import Subject, Transitions, disturb, encode, remember
from world_models.contract import LOCAL_LOSSES, WorldModel

BATCHES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 5))
FOLD = "world_models.shapes.fold_batch folds leading dimensions into one"


def shapes(subject: Subject) -> None:
    """Every method takes any leading batch shape (none, [3], [2, 5]) and gives it back, in float32."""
    model = subject.model
    for name in ("latent_spec", "encoder"):
        expect(hasattr(model, name), f"{name}, set in __init__", "none", f"__init__: self.{name} = ...")
    event = tuple(model.latent_spec.shape)
    for batch in BATCHES:
        shape = (*batch, *event)
        here = f"latent_spec says {list(event)}; {FOLD}"
        inputs = subject.inputs(model, *batch)
        latent = encode(model, *inputs)
        expect_tensor(latent, shape, torch.float32, "encode", here)
        _memory(model, latent, subject, batch)
        owed = model.representation_loss(latent, inputs[0])
        expect_tensor(owed, batch, torch.float32, "representation_loss")
        shown = model.decode(latent)
        if shown is not None:
            expect_tensor(shown, inputs[0].shape, torch.float32, "decode", "In the units of the environment, as float")
        given = subject.transitions(model, *batch)
        expect_tensor(given.next_latent, shape, torch.float32, "target", here)
        _distribution(model, given, batch, event)
        reward = model.reward(given.latent, given.action)
        expect_tensor(reward, batch, torch.float32, "reward", f"One number a transition; {FOLD}")
        ended = model.termination(given.latent, given.action, given.next_latent)
        expect_tensor(ended, batch, torch.float32, "termination", f"One number a transition; {FOLD}")
        _per_transition("local_losses", model.local_losses, given, batch)
        _per_transition("local_distances", model.local_distances, given, batch)
        step = model.imagine(given.latent, given.action)
        expect_tensor(step.next_latent, shape, torch.float32, "imagine(...).next_latent")
        expect_tensor(step.reward, batch, torch.float32, "imagine(...).reward")
        expect_tensor(step.termination, batch, torch.float32, "imagine(...).termination")
        expect_tensor(step.uncertainty, batch, torch.float32, "imagine(...).uncertainty", "0 from a model without one")
        _of_the_spec(model, batch, {"encode": latent, "imagine(...).next_latent": step.next_latent})


def _of_the_spec(model: WorldModel, batch: tuple[int, ...], latents: dict[str, Tensor]) -> None:
    spec = model.latent_spec.expand(*batch, *model.latent_spec.shape)
    for name, latent in latents.items():
        inside = spec.is_in(latent)
        told = f"values from {float(latent.min()):.4g} to {float(latent.max()):.4g}"
        if isinstance(spec, OneHot):  # of which TorchRL asks only that they sum to one
            inside = bool(((latent == 0) | (latent == 1)).all() and (latent.sum(-1) == 1).all())
            told += f", with sums from {float(latent.sum(-1).min()):.4g} to {float(latent.sum(-1).max()):.4g}"
        expect(inside, f"{name}: a latent of latent_spec, which is {type(spec).__name__}", told, "latent_spec")


def _memory(model: WorldModel, latent: Tensor, subject: Subject, batch: tuple[int, ...]) -> None:
    spec, keys = model.memory_spec, tuple(model.in_keys)
    wanted = ("observation",) if spec is None else ("observation", "memory")
    told = "no memory_spec" if spec is None else f"memory_spec of shape {list(spec.shape)}"
    expect(keys == wanted, f"in_keys {list(wanted)}, as the model has {told}", list(keys), "in_keys, memory_spec")
    if spec is not None:
        found = remember(model, latent, subject.actions(*batch))
        expect_tensor(found, (*batch, *spec.shape), spec.dtype, "remember", "memory_spec says so")


def _distribution(model: WorldModel, given: Transitions, batch: tuple[int, ...], event: tuple[int, ...]) -> None:
    found = model.transition(given.latent, given.action)
    expect(
        (tuple(found.batch_shape), tuple(found.event_shape)) == (batch, event),
        f"transition: a distribution of batch shape {list(batch)} and event shape {list(event)}",
        f"batch shape {list(found.batch_shape)} and event shape {list(found.event_shape)}",
        "transition. One latent is one event: torch.distributions.Independent(distribution, number of latent axes)",
    )
    expect_tensor(found.mean, (*batch, *event), torch.float32, "transition(...).mean")
    expect_tensor(found.sample((2,)), (2, *batch, *event), torch.float32, "transition(...).sample((2,))")


def _per_transition(name: str, method: Callable[..., Any], given: Transitions, batch: tuple[int, ...]) -> None:
    hint = "Nothing is averaged: the utility weighs each transition by its own importance ratio"
    try:
        losses = method(*given)
    except RuntimeError as error:
        if "batch dimension" not in str(error):  # TensorDict's words for an entry that is smaller than the batch
            raise
        raise CheckFailed(f"{name}: one number a transition, {list(batch)}", str(error), f"{name}. {hint}") from error
    keys = set(losses.keys()) if hasattr(losses, "keys") else set()
    expect(
        keys == set(LOCAL_LOSSES),
        f"{name}: a TensorDict with the keys {', '.join(LOCAL_LOSSES)}",
        f"the keys {', '.join(sorted(map(str, keys)))}" if keys else f"a {type(losses).__name__} without keys",
        f"{name}, what it returns",
    )
    batch_size = getattr(losses, "batch_size", None)
    expect(
        batch_size == torch.Size(batch),
        f"{name}: a TensorDict of batch size {list(batch)}, that of the actions",
        f"a {type(losses).__name__}" + ("" if batch_size is None else f" of batch size {list(batch_size)}"),
        f"{name}: TensorDict(losses, batch_size=action.shape)",
    )
    for key in LOCAL_LOSSES:
        expect_tensor(losses[key], batch, torch.float32, f'{name}["{key}"]', hint)


def folding(subject: Subject) -> None:
    """A batch [2, 3] and the same batch as [6] give the same values."""
    model = subject.model
    inputs = subject.inputs(model, 2, 3)
    given = subject.transitions(model, 2, 3)
    flat = Transitions(*(tensor.flatten(0, 1) for tensor in given))
    pairs: dict[str, tuple[Tensor, Tensor]] = {
        "encode": _both(partial(encode, model), inputs, tuple(value.flatten(0, 1) for value in inputs)),
        "transition": _both(lambda z, a: model.transition(z, a).mean, given[:2], flat[:2]),
        "reward": _both(model.reward, given[:2], flat[:2]),
        "termination": _both(
            model.termination, (given.latent, given.action, given.next_latent), (flat.latent, flat.action, flat[3])
        ),
    }
    for method, (whole, folded) in pairs.items():
        difference = float((whole.flatten(0, 1) - folded).abs().max())
        expect(
            difference < 1e-4,
            f"{method}: the same values for a batch [2, 3] and for the same batch as [6]",
            f"values that differ by up to {difference:.2g}",
            f"{method}. A transition may depend on nothing but itself: no batch statistics, no axes mixed up; {FOLD}",
        )


def _both(function: Callable[..., Tensor], first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple:
    results = []
    for arguments in (first, second):
        torch.manual_seed(0)  # where a method draws, it draws the same
        with torch.no_grad():
            results.append(function(*arguments))
    return tuple(results)


def probabilities(subject: Subject) -> None:
    """A termination is a probability in [0, 1], whatever the weights."""
    model = disturb(subject.fresh(), seed=1)
    given = subject.transitions(model, 64)
    with torch.no_grad():
        ended = model.termination(given.latent, given.action, given.next_latent)
    low, high = float(ended.min()), float(ended.max())
    expect(
        low >= 0.0 and high <= 1.0,
        "termination: probabilities in [0, 1], with any weights",
        f"values from {low:.3g} to {high:.3g} after the weights were moved",
        "termination. It returns the probability, not its logit: end with .sigmoid()",
    )


def devices(subject: Subject) -> None:
    """The model follows .to("cuda"), with its buffers and what it makes anew."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device here; all other checks are made on the CPU")
    there = subject.on("cuda")
    shapes(there)
    latent = encode(there.model, *there.inputs(there.model, 3))
    expect(
        latent.device.type == "cuda",
        "encode: a latent on the model's device, cuda",
        latent.device,
        "encode; constants are buffers (register_buffer), new tensors are made with device=",
    )
