"""The smallest world there is to learn: three states in a row, and an end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor

from world_models.checks.outcome import CheckFailed, Skipped
from world_models.checks.subject import Subject, experience, learnt
from world_models.contract import WorldModel

UPDATES, LOOK_EVERY = 1000, 50
#: Of Adam. The encoder is the slower, as in training (there 2.5e-4 and 3e-3): a fast one merges one-hots before the
#: model has learnt.
RATE, ENCODER_RATE = 2e-3, 5e-4
TRIES = 64  # random observations among which four distinct ones must be
#: Errors that a model is through with. The transition's is a share of the mean distance between states, and a larger
#: one where a Lipschitz constant is promised: there a move that takes states apart can't be learnt.
REWARD, TERMINATION, TRANSITION, LIPSCHITZ_TRANSITION = 0.2, 0.05, 0.1, 0.3
#: Which part of a YAML file an error speaks of.
YAML_KEYS = {"transition": "cost", "reward": "reward", "termination": "termination"}


class Chain(NamedTuple):
    """Every transition of the chain."""

    now: Tensor
    action: Tensor
    reward: Tensor
    then: Tensor
    terminated: Tensor


def chain(subject: Subject) -> Chain:
    """Three states and an end: action 0 stays, 1 goes on, 2 goes back, others stay; arriving at the end pays 10,
    action 2 costs 1."""
    seen = subject.observations(TRIES)
    distinct = seen[:1]
    for observation in seen[1:]:
        if len(distinct) < 4 and not (distinct == observation).reshape(len(distinct), -1).all(1).any():
            distinct = torch.cat((distinct, observation[None]))
    if len(distinct) < 4:
        raise Skipped("fewer than four distinct observations to make a chain of")
    moves = torch.zeros(subject.num_actions, dtype=torch.long)
    moves[1:3] = torch.tensor([1, -1])[: subject.num_actions - 1]
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(subject.num_actions))
    state, action, moves = (tensor.to(subject.device) for tensor in (*pairs.unbind(1), moves))
    after = (state + moves[action]).clamp(0, 3)
    reward = torch.where(after == 3, 10.0, torch.where(action == 2, -1.0, 0.0))
    return Chain(distinct[state], action, reward, distinct[after], after == 3)


def learns_a_chain(subject: Subject) -> None:
    """Rewards, ends and successors of a chain of three states are learnt in seconds, and its states kept apart."""
    world = chain(subject)
    model = subject.fresh()
    before = _errors(model, world)
    optimizer = _optimizer(model)
    for _ in range(UPDATES // LOOK_EVERY):
        for _ in range(LOOK_EVERY):
            update(model, optimizer, world)
        after = _errors(model, world)
        if not _wanting(model, before, after):
            return
    key, most = _wanting(model, before, after)[0]
    merged = ": the states share a latent" if after["apart"] == 0 else ""
    raise CheckFailed(
        f"{key} error below {most:.3g} after {UPDATES} updates (Adam, {RATE:g}, encoder {ENCODER_RATE:g}) on a chain "
        "of three states",
        f"{after[key]:.3g}, from {before[key]:.3g} before{merged}",
        f'local_losses["{key}"], local_distances["{key}"], target (world_model.{YAML_KEYS[key]} and '
        "world_model.target in our YAML files)",
    )


def _optimizer(model: WorldModel) -> torch.optim.Optimizer:
    encoder = {id(parameter) for parameter in model.encoder_parameters()}
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    slow = [parameter for parameter in learning if id(parameter) in encoder]
    fast = [parameter for parameter in learning if id(parameter) not in encoder]
    return torch.optim.Adam([{"params": slow, "lr": ENCODER_RATE}, {"params": fast, "lr": RATE}])


def update(model: WorldModel, optimizer: torch.optim.Optimizer, world: Chain) -> None:
    """One step down the losses, averaged over the chain, whose transitions are segments of one step each."""
    _, total = learnt(model, _segments(model, world))
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    model.after_update()


def _segments(model: WorldModel, world: Chain) -> TensorDict:
    return experience(model, *(tensor.unsqueeze(1) for tensor in world))


@torch.no_grad()
def _errors(model: WorldModel, world: Chain) -> dict[str, float]:
    """Mean local distances on the chain, the transition's in units of the mean distance between states."""
    latent, next_latent = (found.squeeze(1) for found in model.believe(_segments(model, world)))
    found = model.local_distances(latent, world.action, world.reward, next_latent, world.terminated)
    errors = {key: float(value.mean()) for key, value in found.items()}
    apart = float(torch.pdist(latent[:: len(latent) // 3].flatten(1), p=1).mean())  # each state's first transition
    return errors | {"transition": errors["transition"] / max(apart, 1e-6), "apart": apart}


def _wanting(model: WorldModel, before: dict[str, float], after: dict[str, float]) -> list[tuple[str, float]]:
    """What is not learnt yet, each with the error it should have at most.

    A reward with a Lipschitz constant is only as steep as its states are apart: it must improve, no more.
    """
    most = {
        "reward": REWARD if model.reward_lipschitz is None else before["reward"],
        "termination": TERMINATION,
        "transition": TRANSITION if model.transition_lipschitz is None else LIPSCHITZ_TRANSITION,
    }
    return [(key, limit) for key, limit in most.items() if not after[key] < limit]
