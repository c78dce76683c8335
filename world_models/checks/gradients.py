"""Where gradients must arrive, and where they must not."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from world_models.checks.outcome import expect
from world_models.checks.subject import Subject, Transitions, disturb, encode, learnt
from world_models.contract import WorldModel


def roles(subject: Subject) -> None:
    """Each parameter that learns is the encoder's or the model's, never both: planners freeze by role."""
    model = subject.model
    encoder, rest = {id(p) for p in model.encoder_parameters()}, {id(p) for p in model.model_parameters()}
    learning = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    expect(encoder, "encoder: a module with the parameters of phi", "one without parameters", "self.encoder")
    expect(rest, "parameters of the latent model beside the encoder's", "none", "model_parameters; __init__")
    both = [learning.get(key, "?") for key in encoder & rest]
    expect(not both, "parameters with one role", f"encoder's and model's: {_named(both)}", "model_parameters")
    neither = [name for key, name in learning.items() if key not in encoder | rest]
    expect(
        not neither,
        "a role for every parameter that learns",
        f"neither the encoder's nor the model's: {_named(neither)}",
        "encoder_parameters, model_parameters; what must not learn gets requires_grad_(False)",
    )


def gradients_arrive(subject: Subject) -> None:
    """Within two updates the three local losses together move every parameter of encoder and model."""
    model = subject.fresh()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), 0.05)
    reached: set[str] = set()
    for _ in range(2):  # outputs may start at zero, and stop the gradient of what is before them once
        optimizer.zero_grad()
        losses, total = learnt(model, subject.experience(model, 16, 4))
        for key, value in losses.items():
            expect(
                value.requires_grad,
                f'local_losses["{key}"] with a gradient',
                "a constant",
                f'local_losses["{key}"]: something on its way is under torch.no_grad() or .detach()',
            )
        total.backward()
        optimizer.step()
        reached |= {name for name, p in parameters.items() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    missing = [name for name in parameters if name not in reached]
    expect(
        not missing,
        "a gradient from the local losses for every parameter that learns",
        f"none for {_named(missing)}",
        "local_losses and what it calls: .detach() or no_grad on the way, a layer that is not used, or a parameter "
        "that should have requires_grad_(False)",
    )


def gradients_stop(subject: Subject) -> None:
    """Imagining and distances carry no gradient; encoding and targets reach the encoder alone."""
    model = subject.model
    given = subject.transitions(model, 5)
    step = model.imagine(given.latent, given.action)
    for field, value in step._asdict().items():
        look = "imagine: torch.no_grad(), and .sample() in the place of .rsample()"
        expect(not value.requires_grad, f"imagine(...).{field} without gradient", "one with a gradient", look)
    for key, value in model.local_distances(*given).items():
        look = "local_distances: decorate it with @torch.no_grad()"
        expect(not value.requires_grad, f'local_distances["{key}"] without gradient', "one with a gradient", look)
    inputs = subject.inputs(model, 5)
    encoded = encode(model, *inputs)
    target = model.target(encoded, inputs[0])
    expect(
        model.target_has_gradient or not target.requires_grad,
        "target: none to phi(s'), as target_has_gradient is False",
        "one with a gradient",
        "target, target_has_gradient: where it is False, the last frame of a segment is encoded without gradient",
    )
    for method, value in (("encode", encoded), ("target", target)):
        astray = _reached(model, value)
        expect(
            not astray,
            f"{method}: a gradient to the encoder's parameters alone",
            f"one to {_named(astray)}",
            f"{method}, self.encoder: every parameter of phi belongs into self.encoder, for it moves the policy",
        )


def _reached(model: WorldModel, value: Tensor) -> list[str]:
    """Names of the model's own parameters (not the encoder's) that a gradient of ``value`` reaches."""
    own = {id(p) for p in model.model_parameters()}
    named: list[tuple[str, nn.Parameter]] = [(name, p) for name, p in model.named_parameters() if id(p) in own]
    if not value.requires_grad:
        return []
    found = torch.autograd.grad(value.sum(), [p for _, p in named], allow_unused=True)
    return [name for (name, _), gradient in zip(named, found, strict=True) if gradient is not None]


def losses_are_per_transition(subject: Subject) -> None:
    """A transition's loss depends on that transition alone."""
    model = disturb(subject.fresh(), seed=0)  # outputs that start at zero depend on nothing yet
    given = subject.transitions(model, 4)
    latent = given.latent.detach().requires_grad_()
    losses = model.local_losses(latent, given.action, given.reward, given.next_latent.detach(), given.terminated)
    for key, value in losses.items():
        if not value.requires_grad:  # found by gradients_arrive
            continue
        (gradient,) = torch.autograd.grad(value[1], latent, retain_graph=True, allow_unused=True)
        _by_itself(key, gradient is None or not bool(gradient[[0, 2, 3]].any()))
    own = Transitions(*(tensor.detach() for tensor in given))
    mixed = Transitions(*map(_with_second, subject.transitions(model, 4), own))
    whole = _losses(model, own)
    same = _close(whole[1], _losses(model, mixed)[1])
    random = (whole != _losses(model, own, seed=1)).any(0)  # alone, a transition is given other random numbers
    same &= random | _close(whole[1], _losses(model, Transitions(*(tensor[1:2] for tensor in own)))[0])
    for key, holds in zip(losses.keys(), same, strict=True):
        _by_itself(key, holds)


def _by_itself(key: str, holds: object) -> None:
    expect(
        holds,
        f'local_losses["{key}"]: a loss of each transition by itself',
        "a loss that depends on other transitions of the batch",
        f'local_losses["{key}"]: no mean, no normalization over the batch',
    )


def _with_second(tensor: Tensor, other: Tensor) -> Tensor:
    """``[4, *]``, the second row in its place from another tensor."""
    tensor = tensor.detach().clone()
    tensor[1] = other[1]
    return tensor


@torch.no_grad()
def _losses(model: WorldModel, given: Transitions, seed: int = 0) -> Tensor:
    """The local losses after a seed, side by side, ``[..., 3]``."""
    torch.manual_seed(seed)
    return torch.stack(list(model.local_losses(*given).values()), -1)


def _close(first: Tensor, second: Tensor) -> Tensor:
    return torch.isclose(first, second, rtol=1e-3, atol=1e-4, equal_nan=True)


def _named(names: Iterable[str], most: int = 4) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
