"""What must survive: a saved state, a seed, a cached weight, a compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pickle import PickleError
from typing import Any

import torch
from torch import Tensor

from world_models.checks.outcome import CheckFailed, Skipped, expect, is_torch_s
from world_models.checks.subject import Subject, Transitions, encode
from world_models.contract import LOCAL_LOSSES, WorldModel


def state_dict(subject: Subject) -> None:
    """A model with other weights, and a life of its own, becomes this one by load_state_dict, which a file can hold."""
    model, twin = subject.fresh(), subject.fresh(seed=1)
    state = model.state_dict()
    odd = [key for key, value in state.items() if not (isinstance(value, Tensor) or _survives(value))]
    expect(
        not odd,
        "state_dict: what torch.load(weights_only=True) brings back equal, for so checkpoints are read",
        f"others: {odd}",
        "state_dict, get_extra_state: tensors, numbers, strings and plain containers",
    )
    inputs = subject.inputs(model, 4)
    latent = encode(model, *inputs)
    action = subject.actions(4)
    twin.imagine(encode(twin, *subject.inputs(twin, 4)), action)  # fills the caches of the old weights
    twin.load_state_dict(model.state_dict())
    for method, function in (
        ("encode", lambda m: encode(m, *inputs)),
        ("transition", lambda m: m.transition(latent, action).mean),
        ("reward", lambda m: m.reward(latent, action)),
        ("termination", lambda m: m.termination(latent, action, latent)),
    ):
        expect(
            torch.equal(_seeded(function, model), _seeded(function, twin)),
            f"{method}: the same bits before and after state_dict and load_state_dict",
            "other values",
            f"{method}: what it reads beside parameters must be a buffer (register_buffer), caches must follow weights",
        )


def _survives(value: Any) -> bool:
    """Whether a value is the same after a file."""
    file = BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        return _equal(value, torch.load(file, weights_only=True))
    except (PickleError, AttributeError, TypeError, RuntimeError):
        return False


def _equal(first: Any, second: Any) -> bool:
    """Whether two values, perhaps containers of tensors, are equal."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)


def _seeded(function: Callable[[WorldModel], Tensor], model: WorldModel) -> Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        return function(model)


def seeds(subject: Subject) -> None:
    """The same seed gives the same model, dream and losses; any seed the same dream where stochastic is False."""
    first, second = subject.fresh(seed=5).state_dict(), subject.fresh(seed=5).state_dict()
    expect(
        _equal(first, second),
        "the same weights after the same torch.manual_seed",
        "other weights",
        "__init__: random numbers from torch's generator only",
    )
    model = subject.model
    given = Transitions(*(tensor.detach() for tensor in subject.transitions(model, 5)))
    for method, function in (
        ("imagine", lambda m: torch.cat([part.flatten() for part in m.imagine(*given[:2])])),
        ("local_losses", lambda m: torch.stack(list(m.local_losses(*given).values()))),
    ):
        drawn = [_seeded(function, model) for _ in range(2)]
        expect(
            torch.equal(*drawn),
            f"{method}: the same values after the same torch.manual_seed",
            f"values that differ by up to {float((drawn[0] - drawn[1]).abs().max()):.3g}",
            f"{method}: random numbers from torch's generator only, and no state that a call leaves behind",
        )
    if not model.stochastic:
        dreams = [model.imagine(given.latent, given.action).next_latent for _ in range(2)]
        expect(
            torch.equal(*dreams),
            "imagine: the same next latent each time, as stochastic is False",
            "other latents the second time",
            "stochastic: a model that draws what comes next leaves it True",
        )


def weights_are_followed(subject: Subject) -> None:
    """With and without gradient, before and after an update, the same bits: no cache of old weights."""
    model = subject.fresh()
    given = Transitions(*(tensor.detach() for tensor in subject.transitions(model, 4)))
    # Fused, as planners have it: so it raises no parameter._version, by which a cache might go.
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=True)
    for _ in range(2):
        losses = model.local_losses(*given)
        optimizer.zero_grad()
        torch.stack([value.mean() for value in losses.values()]).sum().backward()
        optimizer.step()
        with torch.no_grad():
            cached = model.transition(given.latent, given.action).mean
        expect(
            torch.equal(model.transition(given.latent, given.action).mean.detach(), cached),
            "transition: the same mean with and without gradient",
            "other values under torch.no_grad()",
            "transition: a cache that does not follow the weights (compare them by torch.equal)",
        )


def compiles(subject: Subject) -> None:
    """torch.compile takes what planners call in each update as graphs without breaks."""
    model = subject.fresh()
    inputs, given = subject.inputs(model, 8), subject.transitions(model, 8)
    latent, action, _, next_latent, _ = given = Transitions(*(tensor.detach() for tensor in given))

    def outcome(latent: Tensor, action: Tensor, next_latent: Tensor) -> tuple[Tensor, ...]:
        mean = model.transition(latent, action).mean
        return mean, model.reward(latent, action), model.termination(latent, action, next_latent)

    def learnt(*given: Tensor) -> tuple[Tensor, ...]:
        losses = model.local_losses(*given)
        return tuple(losses[key] for key in LOCAL_LOSSES)

    _without_breaks(["encode"], lambda *inputs: (encode(model, *inputs),), inputs, compare=True)
    with torch.no_grad():
        names = ["transition", "reward", "termination"]
        _without_breaks(names, outcome, (latent, action, next_latent), compare=True)
    _without_breaks(["imagine"], model.imagine, (latent, action))
    _without_breaks(["local_losses"], learnt, given)


def _without_breaks(
    names: Sequence[str],
    function: Callable[..., tuple[Tensor, ...]],
    arguments: tuple[Tensor, ...],
    compare: bool = False,
) -> None:
    """Compiles and calls; what draws nothing must also give the same values as uncompiled."""
    together = ", ".join(names)
    try:
        # The backend "eager" runs the graph as it is: what is checked is that there is one.
        compiled = torch.compile(function, fullgraph=True, backend="eager")
    except RuntimeError as error:
        raise Skipped(f"torch.compile can't be used here: {error}") from error
    try:
        for _ in range(2):  # what a first call keeps, the second meets
            results = compiled(*arguments)
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = " ".join(str(error).strip().splitlines()[0].split())
        frames = [frame for frame in getattr(error, "real_stack", None) or () if not is_torch_s(frame.filename)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else together
        if "torch.compiler.disable" in reason:
            raise Skipped(f"{together} leaves the graph where its author asks for it, {where}") from error
        raise CheckFailed(f"{together} in one graph", f"a break: {reason}", where) from error
    finally:
        torch._dynamo.reset()
    for name, mine, theirs in zip(names, function(*arguments), results, strict=True) if compare else ():
        expect(torch.allclose(mine, theirs, atol=1e-5), f"{name}: the same values compiled", "other values", name)
